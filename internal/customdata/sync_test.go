package customdata_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func counts(rows, changed, unchanged, stale, missing, rejected int64) map[string]int64 {
	return map[string]int64{"rows": rows, "changed": changed, "unchanged": unchanged, "stale": stale, "missing": missing, "rejected": rejected}
}

func checkCounts(t *testing.T, report jobs.Report, want map[string]int64) {
	t.Helper()
	if diff := cmp.Diff(want, report.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func checkData(t *testing.T, s *stage, user string, want object) {
	t.Helper()
	if diff := cmp.Diff(want, s.tenant.CustomData(user)); diff != "" {
		t.Errorf("custom data of %s (-want +got):\n%s", user, diff)
	}
}

func TestThousandRowsOfWhichTenChangedTake21Requests(t *testing.T) {
	s := newStage(t, withSource)
	s.users(1000, object{"orders": object{"total": 1, "tags": []any{"a", "b"}}, "other": "kept"})
	var b strings.Builder
	for i := range 1000 {
		total := "1.0" // the same number as 1
		if i%100 == 50 {
			total = "2"
		}
		fmt.Fprintf(&b, `{"primaryEmail":"%s@example.com","customData":{"orders":{"tags":["a","b"],"total":%s}}}`+"\n", id(i), total)
	}
	report := s.sync(object{"source": s.file("rows.ndjson", b.String())})
	checkCounts(t, report, counts(1000, 10, 990, 0, 0, 0))
	got := map[string]int{search: s.tenant.Requests(search), merge: s.tenant.Requests(merge), token: s.tenant.Requests(token), "": s.tenant.Requests("")}
	if diff := cmp.Diff(map[string]int{search: 10, merge: 10, token: 1, "": 21}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if report.Requests != 20 || report.Tokens != 1 {
		t.Errorf("the report has %d requests and %d tokens", report.Requests, report.Tokens)
	}
	checkData(t, s, "u050", object{"orders": object{"total": number(2), "tags": []any{"a", "b"}}, "other": "kept"})

	again := s.sync(object{"source": s.file("again.ndjson", b.String())})
	checkCounts(t, again, counts(1000, 0, 1000, 0, 0, 0))
	if again.Requests != 10 || again.Tokens != 0 {
		t.Errorf("again: %d requests and %d tokens", again.Requests, again.Tokens)
	}
}

func TestNoRowsTakeNoRequestAndNoSecret(t *testing.T) {
	s := newStage(t, withSource)
	checkCounts(t, s.sync(`{"rows":[]}`), counts(0, 0, 0, 0, 0, 0))
	checkCounts(t, s.sync(object{"source": s.file("rows.ndjson", "\n\n")}), counts(0, 0, 0, 0, 0, 0))
	report := s.sync(rows(`{"id":"u000"}`)) // only rows that are rejected before anything is asked
	checkCounts(t, report, counts(1, 0, 0, 0, 0, 1))
	if n := s.tenant.Requests(""); n != 0 || s.clients != 0 || report.SecretReads != 0 {
		t.Errorf("%d requests, %d clients, %d secret reads", n, s.clients, report.SecretReads)
	}
}

func TestEveryRowEndsInOneCountAndWhatIsLeftOutIsKept(t *testing.T) {
	s := newStage(t)
	s.tenant.AddUser(logtotest.User{ID: "u1", PrimaryEmail: "ann@example.com", Username: "ann", PrimaryPhone: "4712345678", CustomData: object{"a": 1}})
	name := s.file("rows.ndjson", strings.Join([]string{
		`{"id":"u1","customData":{"a":1}}`,
		`{"primaryEmail":"ann@example.com","customData":{"b":{"deep":[1,null]}}}`,
		``,
		`{"username":"ann","customData":{"c":null}}`,
		`{"primaryPhone":"4712345678","customData":{"d":"x"}}`,
		`{"username":"Ann","customData":{"d":"x"}}`,
		`oops`,
		`{"id":"u1","customData":{"e":"\u0000"}}`,
	}, "\n"))
	report := s.sync(object{"source": name})
	checkCounts(t, report, counts(7, 3, 1, 0, 1, 2))
	checkData(t, s, "u1", object{"a": number(1), "b": object{"deep": []any{number(1), nil}}, "c": nil, "d": "x"})
	if n := s.tenant.Requests(search); n != 4 {
		t.Errorf("%d searches, want one for each kind of key", n)
	}
	want := []jobs.Rejection{
		{Line: 6, Kind: "missing", Reason: "no user has this username", Row: json.RawMessage(`{"username":"Ann","customData":{"d":"x"}}`)},
		{Line: 7, Kind: "rejected", Reason: "not a row: not JSON, at byte 1", Row: json.RawMessage(`"oops"`)},
		{Line: 8, Kind: "rejected", Reason: "customData at e: the text has a NUL character (U+0000), which Logto answers with 500: remove it",
			Row: json.RawMessage(`{"id":"u1","customData":{"e":"\u0000"}}`)},
	}
	if diff := cmp.Diff(want, s.kept(report)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got, want := s.result(report), (customdata.Result{Source: name}); got.Source != want.Source || got.DryRun || got.Version == "" {
		t.Errorf("result %+v", got)
	}
}

func TestOnlyChangedKeysAreWrittenAndNestedObjectsWhole(t *testing.T) {
	s := newStage(t)
	s.tenant.AddUser(logtotest.User{ID: "u1", CustomData: object{"same": object{"x": 1, "y": "z"}, "nested": object{"old": 1, "kept": 2}, "other": true}})
	// Somebody else changes a key after it was read: it is not in the write, so it stays.
	s.before = func(r request) {
		if r.route == merge {
			s.tenant.SetCustomData("u1", object{"same": "theirs", "nested": object{}, "other": true})
		}
	}
	s.sync(rows(`{"id":"u1","customData":{"same":{"y":"z","x":1e0},"nested":{"kept":2}}}`))
	checkData(t, s, "u1", object{"same": "theirs", "nested": object{"kept": number(2)}, "other": true})
}

func TestRowsOfOneUserTakeEffectInTheFilesOrder(t *testing.T) {
	s := newStage(t)
	s.users(150, nil)
	var lines []string
	for i := range 150 {
		lines = append(lines, fmt.Sprintf(`{"id":"%s","customData":{"n":%d}}`, id(i), i))
	}
	for i := range 6 { // by id and by e-mail address, within a batch and across batches
		row := fmt.Sprintf(`{"id":"u000","customData":{"n":%d,"k%d":true}}`, 1000+i, i)
		if i%2 == 1 {
			row = fmt.Sprintf(`{"primaryEmail":"u000@example.com","customData":{"n":%d,"k%d":true},"remove":["k%d"]}`, 1000+i, i, i-1)
		}
		lines = append(lines[:20*i+10], append([]string{row}, lines[20*i+10:]...)...)
	}
	report := s.sync(rows(lines...))
	checkCounts(t, report, counts(156, 156, 0, 0, 0, 0))
	checkData(t, s, "u000", object{"n": number(1005), "k1": true, "k3": true, "k5": true})
}

func TestSameRowTwiceIsWrittenOnce(t *testing.T) {
	s := newStage(t)
	s.users(1, object{"a": 1})
	row := `{"id":"u000","customData":{"b":2}}`
	checkCounts(t, s.sync(rows(row, row, `{"primaryEmail":"U000@EXAMPLE.COM","customData":{"b":2}}`)), counts(3, 1, 2, 0, 0, 0))
	if n := s.tenant.Requests(merge); n != 1 {
		t.Errorf("%d writes", n)
	}
}

func TestDifferentUsersAreWrittenSideBySideAndOneUserNever(t *testing.T) {
	s := newStage(t)
	s.users(8, nil)
	var mu sync.Mutex
	met, writing, inFlight := make(chan struct{}), map[string]bool{}, 0
	s.before = func(r request) {
		if r.route != merge {
			return
		}
		mu.Lock()
		if inFlight++; inFlight == 2 {
			close(met)
		}
		if writing[r.URL.Path] {
			t.Errorf("two writes of %s at once", r.URL.Path)
		}
		writing[r.URL.Path] = true
		mu.Unlock()
		// The first waits for a second one, of another user: if they came one after the other this would not end.
		select {
		case <-met:
		case <-r.Context().Done():
		}
		mu.Lock()
		writing[r.URL.Path] = false
		mu.Unlock()
	}
	var lines []string
	for n := range 5 {
		for i := range 8 {
			lines = append(lines, fmt.Sprintf(`{"id":"%s","customData":{"n":%d}}`, id(i), n))
		}
	}
	checkCounts(t, s.sync(rows(lines...)), counts(40, 40, 0, 0, 0, 0))
}

func TestEmailAddressIsFoundInAnyCaseUnlessSeveralUsersShareIt(t *testing.T) {
	s := newStage(t)
	s.tenant.AddUser(logtotest.User{ID: "ann", PrimaryEmail: "Ann@example.com"})
	s.tenant.AddUser(logtotest.User{ID: "bob1", PrimaryEmail: "bob@example.com"})
	s.tenant.AddUser(logtotest.User{ID: "bob2", PrimaryEmail: "Bob@example.com"})
	report := s.sync(rows(
		`{"primaryEmail":"ann@EXAMPLE.com","customData":{"a":1}}`,
		`{"primaryEmail":"Bob@example.com","customData":{"a":2}}`,
		`{"primaryEmail":"BOB@example.com","customData":{"a":3}}`,
	))
	checkCounts(t, report, counts(3, 2, 0, 0, 0, 1))
	checkData(t, s, "ann", object{"a": number(1)})
	checkData(t, s, "bob1", object{})
	checkData(t, s, "bob2", object{"a": number(2)})
	if kept := s.kept(report); len(kept) != 1 || kept[0].Line != 3 || !strings.Contains(kept[0].Reason, "2 users have this primaryEmail in another letter case") {
		t.Errorf("kept %+v", kept)
	}
}

func TestDryRunWritesNothingAndTellsTheFirstChanges(t *testing.T) {
	s := newStage(t)
	s.users(30, object{"a": "canary-old", "b": 1})
	lines := []string{
		`{"id":"u000","customData":{"a":"canary-old"}}`,
		`{"id":"u001","customData":{"a":"canary-new","c":1,"b":1},"remove":["b2","x"]}`,
		`{"id":"u002","customData":{"a":"canary-new"},"remove":["b"]}`,
		`{"id":"u002","customData":{"a":"canary-new"},"remove":["b"]}`, // by then it would be unchanged
		`{"id":"nobody","customData":{"a":1}}`,
		`{"id":"u003"}`,
	}
	for i := 4; i < 30; i++ {
		lines = append(lines, fmt.Sprintf(`{"id":"%s","customData":{"b":2}}`, id(i)))
	}
	dry := s.sync(with(rows(lines...), "dryRun", true))
	checkCounts(t, dry, map[string]int64{"rows": 32, "wouldChange": 28, "unchanged": 2, "stale": 0, "missing": 1, "rejected": 1})
	if n := s.tenant.Requests(""); n != 1 {
		t.Errorf("%d requests, want the one search", n)
	}
	result := s.result(dry)
	if !result.DryRun || len(result.Changes) != 20 {
		t.Fatalf("result %+v", result)
	}
	want := []customdata.Change{
		{Line: 2, User: "u001", Keys: []string{"a", "c"}},
		{Line: 3, User: "u002", Keys: []string{"a"}, Gone: []string{"b"}},
		{Line: 7, User: "u004", Keys: []string{"b"}},
	}
	if diff := cmp.Diff(want, result.Changes[:3]); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if strings.Contains(string(dry.Result), "canary") {
		t.Errorf("the result has values: %s", dry.Result)
	}
	real := s.sync(rows(lines...))
	checkCounts(t, real, counts(32, 28, 2, 0, 1, 1))
}

func TestLogHasNoCustomDataAndNoAddresses(t *testing.T) {
	s := newStage(t, oneByOne)
	s.users(3, object{"a": "canary-old", "trial": true})
	s.tenant.AddUser(logtotest.User{ID: "bob1", PrimaryEmail: "canary@example.com"})
	s.tenant.AddUser(logtotest.User{ID: "bob2", PrimaryEmail: "Canary@example.com"})
	s.tenant.Inject(logtotest.Fault{Route: merge, After: 1, Status: 422, Body: `{"code":"guard.invalid_input","message":"no"}`})
	report := s.sync(with(rows(
		`{"id":"u000","customData":{"a":"canary-new","v":1}}`,
		`{"id":"u001","customData":{"a":"canary-new","v":1},"remove":["trial"]}`,
		`{"id":"u002","customData":{"a":"canary-new","v":1}}`,
		`{"primaryEmail":"CANARY@example.com","customData":{"v":1}}`,
		`{"primaryEmail":"canary-nobody@example.com","customData":{"v":1}}`,
		`{"id":"u000","customData":{"v":"canary"}}`,
		`{"id":"u000","customData":{"v":112233445566778899001}}`,
		`{"id":"u000","customData":{"v":1,"a":"canary\u0000"}}`,
		`{"id":7,"customData":{"v":"canary"}}`,
	), "newer", "v"))
	checkCounts(t, report, counts(9, 2, 0, 0, 1, 6))
	s.tenant.Inject(logtotest.Fault{Route: search, Reset: true, Times: -1})
	if _, err := s.invoke(t.Context(), rows(`{"primaryEmail":"canary@example.com","customData":{"a":1}}`)); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
	log := s.log.String()
	for _, value := range []string{"canary", "Canary", "CANARY", "112233445566778899001", "11223344556677890"} {
		if strings.Contains(log, value) {
			t.Errorf("the log has %s:\n%s", value, log)
		}
	}
	if !strings.Contains(log, `"rejected"`) {
		t.Errorf("the log has no report:\n%s", log)
	}
}
