package customdata_test

import (
	"strings"
	"testing"
)

func TestRemoveTakesKeysAwayAndLeavesTheOthers(t *testing.T) {
	s := newStage(t)
	s.users(3, object{"keep": object{"n": 1}, "trial": true, "old": 1})
	report := s.sync(rows(
		`{"id":"u000","remove":["trial","old","never"]}`,
		`{"id":"u001","customData":{"plan":"gold","keep":{"n":1}},"remove":["trial"]}`,
		`{"id":"u002","remove":["never"]}`,
		`{"id":"u002","customData":{"plan":"gold"},"remove":["never"]}`,
	))
	checkCounts(t, report, counts(4, 3, 1, 0, 0, 0))
	checkData(t, s, "u000", object{"keep": object{"n": number(1)}})
	checkData(t, s, "u001", object{"keep": object{"n": number(1)}, "old": number(1), "plan": "gold"})
	checkData(t, s, "u002", object{"keep": object{"n": number(1)}, "old": number(1), "trial": true, "plan": "gold"})
	// A key that is gone already needs no replacing, so there is no window either.
	if gets, replaces, merges := s.tenant.Requests(getUser), s.tenant.Requests(replace), s.tenant.Requests(merge); gets != 2 || replaces != 2 || merges != 1 {
		t.Errorf("%d reads of a user, %d replacements, %d merges", gets, replaces, merges)
	}
}

func TestRemoveKeepsWhatOthersWroteSinceTheBatchWasRead(t *testing.T) {
	s := newStage(t)
	s.users(2, object{"trial": true})
	s.before = func(r request) {
		switch {
		case r.route == getUser && strings.HasSuffix(r.URL.Path, "u000"):
			s.tenant.SetCustomData("u000", object{"trial": true, "theirs": 1})
		case r.route == getUser:
			s.tenant.SetCustomData("u001", object{"theirs": 1}) // trial is gone already
		}
	}
	report := s.sync(rows(`{"id":"u000","remove":["trial"]}`, `{"id":"u001","customData":{"a":1},"remove":["trial"]}`, `{"id":"u001","remove":["trial"]}`))
	checkCounts(t, report, counts(3, 2, 1, 0, 0, 0))
	checkData(t, s, "u000", object{"theirs": number(1)})
	checkData(t, s, "u001", object{"theirs": number(1), "a": number(1)})
	if n := s.tenant.Requests(replace); n != 1 {
		t.Errorf("%d replacements", n)
	}
}
