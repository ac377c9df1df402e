package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// repairer runs the repair of a tenant's hook.
func (s *setup) repairer(endpoint string, client *http.Client, store jobs.Store) func(t *testing.T, params string) (map[string]int64, error) {
	job := s.Repair(RepairConfig{
		Endpoint: func(context.Context) (string, error) { return endpoint, nil },
		Client:   client, Store: store,
	})
	handler := jobs.Handler(job, jobs.Config{Store: store, Log: s.log})
	return func(t *testing.T, params string) (map[string]int64, error) {
		t.Helper()
		answer, err := handler.Invoke(t.Context(), []byte(params))
		var report jobs.Report
		if wrong := json.Unmarshal(answer, &report); wrong != nil {
			t.Fatal(wrong)
		}
		return report.Counts, err
	}
}

func users(t *testing.T, entries []busEntry) []string {
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.event(t).UserID)
	}
	return ids
}

func TestWhatWasNotDeliveredIsRepairedOnce(t *testing.T) {
	c := newCircle(t, "id")
	outage := true
	c.bridge.answering(func(int) (int, string) {
		if outage {
			return 200, `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure","ErrorMessage":"down"}]}`
		}
		return 200, ""
	})
	var want []string
	for i := range 3 {
		want = append(want, c.tenant.AddUser(logtotest.User{Username: fmt.Sprint("missed", i)}))
	}
	patch(t, c.tenant, "/api/users/"+want[0]+"/custom-data", `{"customData":{"plan":"pro"}}`)
	c.tenant.FlushHooks()
	if n := len(c.bridge.taken()); n != 0 {
		t.Fatalf("%d events in spite of the outage", n)
	}
	store := jobs.NewMemoryStore(time.Now)
	repair := c.repairer(c.tenant.URL, c.tenant.ManagementClient(), store)

	if counts, err := repair(t, `{}`); err == nil || !strings.Contains(err.Error(), "0 of 3 missed deliveries") {
		t.Errorf("while the bus is down: %v %v", counts, err)
	}
	c.bridge.answering(func(call int) (int, string) {
		if outage && len(c.bridge.entries) == 1 { // it fails once more, half-way
			outage = false
			return 200, `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"ThrottlingException","ErrorMessage":"slow down"}]}`
		}
		return 200, ""
	})
	if counts, err := repair(t, `{"lookBack":"1h"}`); err == nil || !strings.Contains(err.Error(), "1 of 3 missed deliveries") {
		t.Errorf("half-way: %v %v", counts, err)
	}
	delivered := c.tenant.AddUser(logtotest.User{Username: "delivered"})
	c.tenant.FlushHooks()

	steps := []struct {
		params string
		counts map[string]int64
	}{
		{`{"dryRun":true}`, map[string]int64{"logged": 5, "repaired": 2, "known": 1}},
		{`{"lookBack":"2h"}`, map[string]int64{"logged": 5, "repaired": 2, "known": 1}},
		{`{"lookBack":"3h"}`, map[string]int64{"logged": 5, "known": 3}},
		{`{"lookBack":"1ns"}`, map[string]int64{}},
	}
	for _, step := range steps {
		counts, err := repair(t, step.params)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.counts, counts); diff != "" && len(step.counts)+len(counts) > 0 {
			t.Errorf("%s (-want +got):\n%s", step.params, diff)
		}
	}
	want = []string{want[0], delivered, want[1], want[2]}
	if diff := cmp.Diff(want, users(t, c.bridge.taken())); diff != "" {
		t.Errorf("events on the bus (-want +got):\n%s", diff)
	}
}

func TestADeliveryRefusedForItsKeyIsRepaired(t *testing.T) {
	c := newCircle(t, "id")
	right := c.keeper.read
	c.keeper.read = func(context.Context) (Secret, error) { return Secret{"the-key-before-the-rotation", "h"}, nil }
	ann := c.tenant.AddUser(logtotest.User{Username: "ann"})
	c.tenant.FlushHooks()
	c.keeper.read, c.keeper.secret = right, Secret{}
	repair := c.repairer(c.tenant.URL, c.tenant.ManagementClient(), jobs.NewMemoryStore(time.Now))
	if _, err := repair(t, `{}`); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ann}, users(t, c.bridge.taken())); diff != "" {
		t.Errorf("events on the bus (-want +got):\n%s", diff)
	}
}

// logOf serves pages of recent logs, newest first, whose keys are ordered as PostgreSQL's jsonb does.
func logOf(t *testing.T, entries []string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, size := 0, 0
		if _, err := fmt.Sscan(r.URL.Query().Get("page"), &page); err != nil {
			t.Error(err)
		}
		if _, err := fmt.Sscan(r.URL.Query().Get("page_size"), &size); err != nil {
			t.Error(err)
		}
		from, to := min(len(entries), (page-1)*size), min(len(entries), page*size)
		fmt.Fprintf(w, "[%s]", strings.Join(entries[from:to], ","))
	}))
	t.Cleanup(server.Close)
	return server
}

func logged(id, result, body string) string {
	return fmt.Sprintf(`{"id":%q,"key":"TriggerHook","createdAt":%d,"payload":{"result":%q,"hookRequest":{"body":%s}}}`,
		id, time.Now().UnixMilli(), result, body)
}

func TestTheLogsOtherOrderOfKeysIsTheSameDelivery(t *testing.T) {
	sent := body("User.Created", `,"data":{"id":"u1","username":"ann"}`)
	reordered := `{"data":{"id":"u1","username":"ann"},"event":"User.Created","hookId":"afj1o9t9avj9z1wgilmaj","createdAt":"2026-11-23T21:55:15.873Z"}`
	s := newSetup(t, func(context.Context) (Secret, error) { return Secret{documentedKey, "hook"}, nil }, "id")
	if got := s.invoke(t, signed(documentedKey, sent)); got.StatusCode != 200 {
		t.Fatal(got.StatusCode)
	}
	// Logto gave up waiting for the answer, so its log has a failure.
	server := logOf(t, []string{logged("l1", "Error", reordered)})
	repair := s.repairer(server.URL, server.Client(), jobs.NewMemoryStore(time.Now))
	if _, err := repair(t, `{}`); err != nil {
		t.Fatal(err)
	}
	taken := s.bridge.taken()
	if len(taken) != 2 || taken[0].event(t).Delivery != taken[1].event(t).Delivery {
		t.Errorf("a receiver cannot tell that they are one: %+v", taken)
	}
}

func TestTheLogIsReadToItsEndAndNothingTwice(t *testing.T) {
	s := newSetup(t, func(context.Context) (Secret, error) { return Secret{documentedKey, "hook"}, nil }, "id")
	of := func(user string) string { return body("User.Created", `,"data":{"id":"`+user+`"}`) }
	entries := []string{
		logged("x1", "Error", `"no event"`),
		logged("x2", "Success", `{}`),
		logged("a2", "Success", of("a")), // the like of a1 arrived
		logged("a1", "Error", of("a")),
		logged("e1", "Error", body("User.Data.Updated", `,"matchedRoute":"/users/:userId/custom-data"`)),
	}
	for i := range 250 {
		entries = append(entries, logged(fmt.Sprint("s", i), "Success", of(fmt.Sprint("s", i))))
	}
	entries = append(entries, entries[len(entries)-1]) // the pages were shifted
	entries = append(entries, logged("b2", "Error", of("b")), logged("b1", "Error", of("b")))
	server := logOf(t, entries)
	counts, err := s.repairer(server.URL, server.Client(), jobs.NewMemoryStore(time.Now))(t, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"logged": 257, "unreadable": 1, "arrived": 1, "echoes": 1, "repaired": 1, "known": 1}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b"}, users(t, s.bridge.taken())); diff != "" {
		t.Errorf("events on the bus (-want +got):\n%s", diff)
	}
	if !strings.Contains(s.log.String(), `"log":"x1"`) {
		t.Error("the log does not name the entry that is no event")
	}
}

func TestWhyARepairFails(t *testing.T) {
	with := func(hookID string) func(context.Context) (Secret, error) {
		return func(context.Context) (Secret, error) { return Secret{documentedKey, hookID}, nil }
	}
	answering := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	tests := map[string]struct {
		secret  func(context.Context) (Secret, error)
		params  string
		handler http.HandlerFunc
		want    string
	}{
		"no hook id":      {with(""), `{}`, nil, "has no hookId"},
		"a bad look-back": {with("h"), `{"lookBack":"yesterday"}`, nil, `want a duration such as "2h"`},
		"no such hook": {with("h"), `{}`, answering(404, `{"code":"entity.not_found","message":"The resource does not exist."}`),
			"is hookId in the signing secret the id of a webhook of this tenant?"},
		"no scope": {with("h"), `{}`, answering(403, `{"code":"auth.forbidden","message":"Forbidden."}`), `lacks the scope "all"`},
		"no list":  {with("h"), `{}`, answering(200, `{"secret":"x"}`), "is not a list of deliveries"},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		test := tests[name]
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, test.secret)
			server := httptest.NewServer(test.handler)
			t.Cleanup(server.Close)
			_, err := s.repairer(server.URL, server.Client(), jobs.NewMemoryStore(time.Now))(t, test.params)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
