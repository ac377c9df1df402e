package customdata_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// plan makes a plan of rows.
func (s *stage) plan(params map[string]any) (jobs.Report, customdata.Plan) {
	s.t.Helper()
	report := s.sync(with(params, "action", "plan"))
	result := s.result(report)
	if result.Plan == nil {
		s.t.Fatalf("no plan in the result %s", report.Result)
	}
	return report, *result.Plan
}

// lines are a plan's lines but the first and the last.
func (s *stage) lines(plan customdata.Plan) []string {
	s.t.Helper()
	data, err := os.ReadFile(plan.Location)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	return lines[1 : len(lines)-1]
}

func TestPlanSaysWhatApplyThenWrites(t *testing.T) {
	s := newStage(t, withSource)
	s.tenant.AddUser(logtotest.User{ID: "ann", PrimaryEmail: "ann@example.com", CustomData: object{"plan": "free", "trial": true, "n": 1}})
	s.tenant.AddUser(logtotest.User{ID: "bob", PrimaryEmail: "bob@example.com", CustomData: object{"plan": "pro"}})
	s.tenant.AddUser(logtotest.User{ID: "eve", PrimaryEmail: "eve@example.com", CustomData: object{"v": 5}})
	params := rows(
		`{"id":"ann","customData":{"plan":"team","n":1.0}}`,
		`{"id":"nobody","customData":{"plan":"pro"}}`,
		`{"primaryEmail":"ANN@example.com","customData":{"plan":"pro"},"remove":["trial","never"]}`,
		`{"id":"bob","customData":{"plan":"pro"}}`,
		`{"id":"bob"}`,
		`{"id":"eve","customData":{"v":6}}`,
		`{"id":"eve","customData":{"v":5}}`,
	)
	report, plan := s.plan(params)
	want := map[string]int64{"rows": 7, "users": 3, "toChange": 1, "unchanged": 2, "stale": 0, "missing": 1, "rejected": 1}
	checkCounts(t, report, want)
	if plan.Rows != 7 || plan.Users != 3 || plan.ToChange != 1 || plan.Same != 2 || plan.Missing != 1 || plan.Rejected != 1 || plan.Requests != 3 || plan.Tokens != 1 {
		t.Errorf("plan %+v", plan)
	}
	if n := s.tenant.Requests(merge) + s.tenant.Requests(replace); n != 0 {
		t.Errorf("%d writes for a plan", n)
	}
	lines := []string{`{"id":"ann","customData":{"plan":"pro"},"remove":["trial"],"before":{"plan":"free","trial":true},"lines":[1,3]}`}
	if diff := cmp.Diff(lines, s.lines(plan)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	before := s.tenant.Requests(search) + s.tenant.Requests(merge) + s.tenant.Requests(replace) + s.tenant.Requests(getUser)
	applied := s.sync(object{"action": "apply", "plan": plan.Location})
	checkCounts(t, applied, map[string]int64{"rows": 1, "changed": 1, "unchanged": 0, "conflict": 0, "missing": 0, "rejected": 0})
	checkData(t, s, "ann", object{"plan": "pro", "n": number(1)})
	if n := s.tenant.Requests(search) + s.tenant.Requests(merge) + s.tenant.Requests(replace) + s.tenant.Requests(getUser) - before; int64(n) != plan.Requests {
		t.Errorf("%d requests, the plan said %d", n, plan.Requests)
	}
	again := s.sync(object{"action": "apply", "plan": plan.Location})
	checkCounts(t, again, map[string]int64{"rows": 1, "changed": 0, "unchanged": 1, "conflict": 0, "missing": 0, "rejected": 0})
}

func TestApplyLeavesAloneWhomSomebodyElseChangedUnlessForced(t *testing.T) {
	s := newStage(t)
	s.users(3, object{"plan": "free", "other": 1})
	_, plan := s.plan(rows(each(3, `{"id":"%s","customData":{"plan":"pro","new":1}}`)...))
	s.tenant.SetCustomData("u000", object{"plan": "team", "other": 1})
	s.tenant.SetCustomData("u001", object{"plan": "free", "other": "theirs"}) // a key that the plan is not about
	report := s.sync(object{"action": "apply", "plan": plan.Location})
	checkCounts(t, report, map[string]int64{"rows": 3, "changed": 2, "unchanged": 0, "conflict": 1, "missing": 0, "rejected": 0})
	kept := s.kept(report)
	if len(kept) != 1 || kept[0].Kind != "conflict" || !strings.Contains(kept[0].Reason, `somebody changed ["plan"] of this user since`) {
		t.Errorf("kept %+v", kept)
	}
	checkData(t, s, "u000", object{"plan": "team", "other": number(1)})
	checkData(t, s, "u001", object{"plan": "pro", "new": number(1), "other": "theirs"})
	report = s.sync(object{"action": "apply", "plan": plan.Location, "force": true})
	checkCounts(t, report, map[string]int64{"rows": 3, "changed": 1, "unchanged": 2, "conflict": 0, "missing": 0, "rejected": 0})
	checkData(t, s, "u000", object{"plan": "pro", "new": number(1), "other": number(1)})
}

func TestPlanThatIsNotWholeIsNotApplied(t *testing.T) {
	s := newStage(t)
	s.users(5, nil)
	_, plan := s.plan(rows(each(5, `{"id":"%s","customData":{"a":1}}`)...))
	data, err := os.ReadFile(plan.Location)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	lines := strings.SplitAfter(text, "\n")
	other := logtotest.New(t)
	for name, test := range map[string]struct{ text, want string }{
		"cut off at a line":  {strings.Join(lines[:4], ""), "was cut off"},
		"cut off in a line":  {text[:len(text)/2], "was cut off"},
		"a line less":        {strings.Join(append(slices.Clone(lines[:2]), lines[3:]...), ""), "was cut off"},
		"rows":               {`{"id":"u000","customData":{}}` + "\n", "is not a plan: make one with m2mjobs sync plan"},
		"empty":              {"", "is not a plan"},
		"of another tenant":  {strings.Replace(text, s.tenant.URL, other.URL, 1), "was made for " + other.URL + ", and this is " + s.tenant.URL},
		"of another version": {strings.Replace(text, `"plan":1`, `"plan":9`, 1), "is of form 9"},
	} {
		t.Run(name, func(t *testing.T) {
			file := s.file("damaged.plan", test.text)
			if _, err := s.invoke(t.Context(), object{"action": "apply", "plan": file}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if n := s.tenant.Requests(merge); n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestOlderRowsAreStaleInAPlanToo(t *testing.T) {
	s := newStage(t)
	s.tenant.AddUser(logtotest.User{ID: "ann", CustomData: object{"orders": object{"asOf": "1997-03-24", "n": 1}}})
	day := func(day string, n int) string {
		return fmt.Sprintf(`{"id":"ann","customData":{"orders":{"asOf":"1997-03-%s","n":%d}}}`, day, n)
	}
	report, plan := s.plan(with(rows(day("23", 9), day("26", 3), day("25", 2), `{"id":"ann","customData":{"x":1}}`), "newer", "orders.asOf"))
	checkCounts(t, report, map[string]int64{"rows": 4, "users": 1, "toChange": 1, "unchanged": 0, "stale": 2, "missing": 0, "rejected": 1})
	if got := s.lines(plan); len(got) != 1 || !strings.Contains(got[0], `"customData":{"orders":{"asOf":"1997-03-26","n":3}}`) {
		t.Errorf("plan %v", got)
	}
}

func TestOnlyKeysLimitAndDryRunBoundWhatIsWritten(t *testing.T) {
	s := newStage(t)
	s.users(9, object{"a": 0, "b": 0})
	lines := each(9, `{"id":"%s","customData":{"a":1,"b":1},"remove":["c"]}`)
	report := s.sync(with(with(rows(lines...), "onlyKeys", []string{"a", "c"}), "limit", 4))
	checkCounts(t, report, counts(4, 4, 0, 0, 0, 0))
	checkData(t, s, "u003", object{"a": number(1), "b": number(0)})
	checkData(t, s, "u004", object{"a": number(0), "b": number(0)})

	planned, plan := s.plan(with(with(rows(lines...), "onlyKeys", []string{"a"}), "limit", 2))
	if plan.ToChange != 2 || plan.LeftOut != 3 || planned.Counts["leftOut"] != 3 || plan.Same != 4 {
		t.Errorf("plan %+v", plan)
	}
	dry := s.sync(object{"action": "apply", "plan": plan.Location, "dryRun": true})
	if dry.Counts["wouldChange"] != 2 {
		t.Errorf("counts %v", dry.Counts)
	}
	writes := s.tenant.Requests(merge)
	applied := s.sync(object{"action": "apply", "plan": plan.Location, "limit": 1})
	if applied.Counts["changed"] != 1 || s.tenant.Requests(merge) != writes+1 {
		t.Errorf("counts %v", applied.Counts)
	}
}

func TestShareThatIsTooLargeFailsBeforeAnythingIsWritten(t *testing.T) {
	s := newStage(t)
	s.users(10, object{"a": 1})
	lines := append(each(10, `{"id":"%s","customData":{"a":1}}`)[:8], `{"id":"u008","customData":{"a":2}}`, `{"id":"nobody","customData":{"a":2}}`)
	for _, dry := range []bool{true, false} {
		params := with(with(rows(lines...), "failAbove", 19), "dryRun", dry)
		_, err := s.invoke(t.Context(), params)
		if err == nil || !strings.Contains(err.Error(), "of 10 rows 1 would change their users and 1 can't be used: together 20.0 %, and failAbove allows 19 %") {
			t.Errorf("dry run %v: error %v", dry, err)
		}
	}
	if _, err := s.invoke(t.Context(), with(with(rows(lines...), "failAbove", 19), "action", "plan")); err == nil || !strings.Contains(err.Error(), "failAbove") {
		t.Errorf("plan: error %v", err)
	}
	if _, err := s.invoke(t.Context(), object{"source": s.file("empty.csv", "id,a\n"), "failAbove": 50}); err == nil || !strings.Contains(err.Error(), "there are no rows") {
		t.Errorf("empty file: error %v", err)
	}
	if n := s.tenant.Requests(merge); n != 0 {
		t.Errorf("%d writes", n)
	}
	report := s.sync(with(rows(lines...), "failAbove", 20))
	if c := report.Counts; c["rows"] != 10 || c["changed"] != 1 || c["missing"] != 1 || c["users"] != 9 {
		t.Errorf("counts %v", c)
	}
	checkData(t, s, "u008", object{"a": number(2)})
}

func TestPlanAndEffectAgreeForAnyDocuments(t *testing.T) {
	s := newStage(t)
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		stored := map[string]object{}
		for i := range 3 {
			user := fmt.Sprintf("p%d-%d", round, i)
			stored[user] = documents().Draw(t, "stored")
			s.tenant.AddUser(logtotest.User{ID: user, PrimaryEmail: user + "@example.com", CustomData: stored[user]})
		}
		want := maps.Clone(stored)
		users := slices.Sorted(maps.Keys(stored))
		var lines []string
		for range rapid.IntRange(1, 8).Draw(t, "rows") {
			user := rapid.SampledFrom(users).Draw(t, "user")
			row := object{"customData": documents().Draw(t, "data")}
			if rapid.Bool().Draw(t, "by e-mail") {
				row["primaryEmail"] = user + "@EXAMPLE.com"
			} else {
				row["id"] = user
			}
			next := maps.Clone(want[user])
			maps.Copy(next, row["customData"].(object))
			remove := []string{}
			for _, key := range rapid.SliceOfN(keys, 0, 2).Draw(t, "remove") {
				if _, written := row["customData"].(object)[key]; !written && key != "" {
					remove = append(remove, key)
					delete(next, key)
				}
			}
			row["remove"], want[user] = remove, next
			lines = append(lines, text(t, row))
		}
		report, plan := s.plan(rows(lines...))
		changes := 0
		for _, user := range users {
			if !logto.EqualData(stored[user], want[user]) {
				changes++
			}
		}
		if plan.ToChange != int64(changes) {
			t.Fatalf("the plan changes %d users, want %d: rows %s", plan.ToChange, changes, lines)
		}
		writes := s.tenant.Requests(merge) + s.tenant.Requests(replace)
		applied := s.sync(object{"action": "apply", "plan": plan.Location})
		if n := s.tenant.Requests(merge) + s.tenant.Requests(replace) - writes; n != changes || applied.Counts["changed"] != int64(changes) {
			t.Fatalf("%d writes, counts %v, want %d", n, applied.Counts, changes)
		}
		for user, data := range want {
			if got := s.tenant.CustomData(user); !logto.EqualData(data, got) {
				t.Fatalf("%s has %v, want %v: rows %s, plan %s", user, got, data, lines, s.lines(plan))
			}
		}
		// And back.
		if changes > 0 {
			undone := s.sync(object{"action": "undo", "run": applied.RunID})
			if undone.Counts["changed"] != int64(changes) {
				t.Fatalf("undo: counts %v, want %d changed", undone.Counts, changes)
			}
		}
		for user, data := range stored {
			if got := s.tenant.CustomData(user); !logto.EqualData(data, got) {
				t.Fatalf("after the undo %s has %v, want %v: rows %s, run %s", user, got, data, lines, report.RunID)
			}
		}
	})
}

func TestUndoTakesBackWhatNobodyChangedSince(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	for _, sealed := range []bool{false, true} {
		s := newStage(t, func(s *stage) {
			if sealed {
				s.config.SealKey = func() ([]byte, error) { return key, nil }
			}
		})
		s.users(250, object{"plan": "canary-free", "trial": true})
		lines := each(250, `{"id":"%s","customData":{"plan":"pro","n":1},"remove":["trial"]}`)
		lines = append(lines, each(250, `{"id":"%s","customData":{"n":2}}`)...) // twice, in other batches
		run := s.sync(object{"source": s.file("rows.ndjson", strings.Join(lines, "\n"))})
		checkCounts(t, run, counts(500, 500, 0, 0, 0, 0))
		s.tenant.SetCustomData("u007", object{"plan": "team", "n": 2})
		dry := s.sync(object{"action": "undo", "run": run.RunID, "dryRun": true})
		if dry.Counts["conflict"] != 1 || dry.Counts["wouldChange"] != 249 {
			t.Errorf("dry run: counts %v", dry.Counts)
		}
		undo := s.sync(object{"action": "undo", "run": run.RunID})
		if undo.Counts["conflict"] != 1 || undo.Counts["changed"] != 249 {
			t.Errorf("counts %v", undo.Counts)
		}
		if kept := s.kept(undo); len(kept) != 1 || !strings.Contains(kept[0].Reason, `somebody changed ["plan"] of this user since, which is left`) {
			t.Errorf("kept %+v", kept)
		}
		checkData(t, s, "u008", object{"plan": "canary-free", "trial": true})
		checkData(t, s, "u249", object{"plan": "canary-free", "trial": true})
		checkData(t, s, "u007", object{"plan": "team", "trial": true})
		again := s.sync(object{"action": "undo", "run": run.RunID})
		if again.Counts["changed"] != 0 {
			t.Errorf("again: counts %v", again.Counts)
		}
		if plans, err := filepath.Glob(filepath.Join(s.out, "plans", "*")); err != nil || len(plans) > 0 {
			t.Errorf("left of the plans: %v, %v", plans, err)
		}
		checkSealed(t, s, sealed)
	}
}

// checkSealed looks whether what was overwritten can be read on the disk.
func checkSealed(t *testing.T, s *stage, sealed bool) {
	t.Helper()
	var parts, readable int
	err := filepath.WalkDir(filepath.Join(s.out, "undo"), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		parts++
		if strings.Contains(string(data), "canary-free") {
			readable++
		}
		if info, infoErr := d.Info(); infoErr == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil || parts == 0 || sealed != (readable == 0) {
		t.Errorf("sealed %v: %d of %d parts can be read, %v", sealed, readable, parts, err)
	}
}

func TestUndoSaysWhatItCanNotDo(t *testing.T) {
	s := newStage(t, func(s *stage) {
		s.config.SealKey = func() ([]byte, error) { return []byte("0123456789abcdef0123456789abcdef"), nil }
	})
	s.users(1, nil)
	run := s.sync(rows(`{"id":"u000","customData":{"a":1}}`))
	for name, test := range map[string]struct {
		change func()
		run    string
		want   string
	}{
		"an unknown run": {func() {}, "20261124T000000Z-none", "nothing is kept of a run"},
		"another key": {func() {
			s.config.SealKey = func() ([]byte, error) { return []byte("fedcba9876543210fedcba9876543210"), nil }
		}, run.RunID, "was encrypted with another key"},
		"no key": {func() { s.config.SealKey = nil }, run.RunID, "there is no key here"},
	} {
		test.change()
		s.handler = jobs.Handler(customdata.Job(s.config), s.jobs)
		if _, err := s.invoke(t.Context(), object{"action": "undo", "run": test.run}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	checkData(t, s, "u000", object{"a": number(1)})
}

func TestParamsThatDoNotGoTogetherAreRefused(t *testing.T) {
	s := newStage(t)
	for params, want := range map[string]string{
		`{"action":"delete","rows":[]}`:                                `is none of sync, plan, apply, undo`,
		`{"action":"apply"}`:                                           `takes "plan"`,
		`{"action":"apply","plan":"a","source":"b"}`:                   `give them to the plan`,
		`{"action":"undo"}`:                                            `takes "run"`,
		`{"action":"undo","run":"../x"}`:                               `is not a run's id`,
		`{"rows":[],"plan":"a"}`:                                       `give {"action": "apply"`,
		`{"rows":[],"run":"a"}`:                                        `for the actions apply and undo`,
		`{"rows":[],"action":"plan","dryRun":true}`:                    `nothing for a plan`,
		`{"rows":[],"onlyKeys":[]}`:                                    `"onlyKeys" is empty`,
		`{"rows":[],"newer":"orders.asOf","onlyKeys":["a"]}`:           `leaves out "orders"`,
		`{"rows":[],"limit":-1}`:                                       `below zero`,
		`{"rows":[],"failAbove":101}`:                                  `no share in percent`,
		`{"action":"apply","plan":"nowhere.plan"}`:                     `nowhere.plan`,
		`{"action":"plan","rows":[],"failAbove":5,"newer":"a..b"}`:     `is not a path`,
		`{"action":"apply","plan":"a","failAbove":5}`:                  `give them to the plan`,
		`{"action":"sync","rows":[],"force":true}`:                     `for the actions apply and undo`,
		`{"action":"undo","run":"a","plan":"b"}`:                       `no "plan"`,
		`{"action":"apply","plan":"a","run":"b"}`:                      `no "run"`,
		`{"action":"apply","plan":"a","newer":"b"}`:                    `give them to the plan`,
		`{"action":"plan","rows":[],"source":"x"}`:                     `both "rows" and "source"`,
		`{"action":"plan","source":"a.csv","plan":"a.csv"}`:            `would replace the rows`,
		`{"action":"plan"}`:                                            `neither "rows" nor "source"`,
		`{"rows":[{"id":"u","before":{},"customData":{}}],"limit":-2}`: `below zero`,
	} {
		if _, err := s.invoke(t.Context(), params); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", params, err, want)
		}
	}
}

func TestRowsOfAFileCanNotSayWhatWasBefore(t *testing.T) {
	s := newStage(t)
	report := s.sync(rows(`{"id":"u000","customData":{"a":1},"before":{}}`))
	if kept := s.kept(report); len(kept) != 1 || !strings.Contains(kept[0].Reason, `unknown member "before"`) {
		t.Errorf("kept %+v", kept)
	}
}
