package customdata_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestOlderRowsAreStale(t *testing.T) {
	s := newStage(t)
	s.users(1, object{"orders": object{"asOf": "1997-03-24"}, "v": 5, "odd": true, "flat": "x"})
	s.tenant.AddUser(logtotest.User{ID: "empty"})
	for _, test := range []struct {
		newer, row string
		want       string // the count
		reason     string
	}{
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"asOf":"1997-03-23","n":1}}}`, "stale", ""},
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"asOf":"1997-03-24"}}}`, "unchanged", ""},
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"asOf":"1997-03-24","n":1}}}`, "changed", ""},
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"asOf":"1997-03-25","n":1}}}`, "changed", ""},
		{"orders.asOf", `{"id":"empty","customData":{"orders":{"asOf":"1990-01-01","n":1}}}`, "changed", ""},
		{"orders.asOf", `{"id":"nobody","customData":{"orders":{"asOf":"1990-01-01","n":1}}}`, "missing", "no user has this id"},
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"n":1}}}`, "rejected", "it has no orders.asOf"},
		{"orders.asOf", `{"id":"u000","customData":{"orders":1}}`, "rejected", "it has no orders.asOf"},
		{"orders.asOf", `{"id":"u000","remove":["orders"]}`, "rejected", "it has no orders.asOf"},
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"asOf":19970325}}}`, "rejected", "are not both texts or both numbers"},
		{"orders.asOf", `{"id":"u000","customData":{"orders":{"asOf":["1997"]}}}`, "rejected", "neither a text nor a number"},
		{"v", `{"id":"u000","customData":{"v":4.5,"a":1}}`, "stale", ""},
		{"v", `{"id":"u000","customData":{"v":5.0,"b":1}}`, "changed", ""},
		{"v", `{"id":"u000","customData":{"v":10,"c":1}}`, "changed", ""},
		{"v", `{"id":"u000","customData":{"v":9,"d":1},"remove":["odd"]}`, "stale", ""},
		{"odd", `{"id":"u000","customData":{"odd":1,"d":1}}`, "rejected", "are not both texts or both numbers"},
		{"flat.x", `{"id":"u000","customData":{"flat":{"x":1}}}`, "changed", ""},
	} {
		report := s.sync(with(rows(test.row), "newer", test.newer))
		if report.Counts[test.want] != 1 {
			t.Errorf("%s with %s: counts %v, want %s", test.row, test.newer, report.Counts, test.want)
		}
		if kept := s.kept(report); test.reason != "" && (len(kept) != 1 || !strings.Contains(kept[0].Reason, test.reason)) {
			t.Errorf("%s with %s: kept %+v, want %q", test.row, test.newer, kept, test.reason)
		}
	}
	checkData(t, s, "u000", object{
		"orders": object{"asOf": "1997-03-25", "n": number(1)}, "v": number(10), "odd": true, "flat": object{"x": number(1)}, "b": number(1), "c": number(1),
	})
}

func TestBackfillNeverPutsOldTotalsOverNewOnes(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	day := func(asOf string, total int) string {
		return fmt.Sprintf(`{"primaryEmail":"u000@example.com","customData":{"orders":{"asOf":"%s","total":%d}}}`, asOf, total)
	}
	params := with(rows(day("1997-03-24", 3), day("1997-03-22", 1), day("1997-03-23", 2)), "newer", "orders.asOf")
	checkCounts(t, s.sync(params), counts(3, 1, 0, 2, 0, 0))
	checkData(t, s, "u000", object{"orders": object{"asOf": "1997-03-24", "total": number(3)}})
}

func TestStaleIsToldByTheFreshReadOfARemoval(t *testing.T) {
	s := newStage(t)
	s.users(1, object{"v": 1, "trial": true})
	s.before = func(r request) {
		if r.route == getUser {
			s.tenant.SetCustomData("u000", object{"v": 9, "trial": true})
		}
	}
	checkCounts(t, s.sync(with(rows(`{"id":"u000","customData":{"v":2},"remove":["trial"]}`), "newer", "v")), counts(1, 0, 0, 1, 0, 0))
	checkData(t, s, "u000", object{"v": number(9), "trial": true})
}
