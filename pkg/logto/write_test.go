package logto_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestMergeKeepsOtherKeysAndReplaceDoesNot(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{CustomData: map[string]any{"seed": true, "plan": "free", "address": map[string]any{"zip": "0150"}}})
	client := newClient(t, tenant)

	got, err := client.MergeCustomData(t.Context(), id, map[string]any{"plan": nil, "address": map[string]any{"city": "Bergen"}, "n": 3})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"seed": true, "plan": nil, "address": map[string]any{"city": "Bergen"}, "n": json.Number("3")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	if got, err = client.ReplaceCustomData(t.Context(), id, map[string]any{"only": "this"}); err != nil {
		t.Fatal(err)
	}
	want = map[string]any{"only": "this"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, tenant.CustomData(id)); diff != "" {
		t.Error(diff)
	}
	for _, write := range []func() error{
		func() error { _, err := client.MergeCustomData(t.Context(), "nobody", nil); return err },
		func() error { _, err := client.ReplaceCustomData(t.Context(), "nobody", nil); return err },
	} {
		if err := write(); !errors.Is(err, logto.ErrNotFound) {
			t.Errorf("an unknown user: %v", err)
		}
	}
}

// The mark that a request may be repeated must not reach the server.
func TestAWriteIsMarkedAsRepeatable(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	sent := &recorder{base: tenant.ManagementClient().Transport}
	if _, err := newClientWith(t, tenant.URL, &http.Client{Transport: sent}).MergeCustomData(t.Context(), id, map[string]any{"a": "<&>"}); err != nil {
		t.Fatal(err)
	}
	req := sent.sent[0]
	if v, ok := req.Header["Idempotency-Key"]; !ok || len(v) != 0 {
		t.Errorf("Idempotency-Key is %q, %t", v, ok)
	}
	body, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"customData":{"a":"<&>"}}`; string(got) != want {
		t.Errorf("body %s, want %s", got, want)
	}
}

// net/http repeats a marked PATCH whose kept connection turns out dead, and sends no header for it.
func TestAWriteSurvivesAConnectionThatDied(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	client := newClient(t, tenant)
	if _, err := client.User(t.Context(), id); err != nil { // leaves a connection
		t.Fatal(err)
	}
	tenant.Inject(logtotest.Fault{Route: "PATCH /api/users/{id}/custom-data", Reset: true})
	if _, err := client.MergeCustomData(t.Context(), id, map[string]any{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if n := tenant.Requests("PATCH /api/users/{id}/custom-data"); n != 2 {
		t.Errorf("%d requests, not 2", n)
	}
}

func TestWhatLogtoWouldNotKeepIsNotSent(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	client := newClient(t, tenant)
	for _, data := range []map[string]any{
		{"big": json.Number("12345678901234567890")}, {"nul": "a\x00b"}, {"blob": strings.Repeat("x", 1_100_000)},
	} {
		var refused *logto.DataError
		if _, err := client.MergeCustomData(t.Context(), id, data); !errors.As(err, &refused) {
			t.Errorf("merge: %v", err)
		}
		if _, err := client.ReplaceCustomData(t.Context(), id, data); !errors.As(err, &refused) {
			t.Errorf("replace: %v", err)
		}
	}
	if n := tenant.Requests(""); n != 0 {
		t.Errorf("%d requests, not 0", n)
	}
}

// The limit is Logto's: what is just small enough is taken by the tenant, one byte more is refused here.
func TestTheSizeLimitIsLogtos(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	client := newClient(t, tenant)
	room := logto.MaxBody - len(`{"customData":{"a":""}}`)
	if _, err := client.MergeCustomData(t.Context(), id, map[string]any{"a": strings.Repeat("x", room)}); err != nil {
		t.Errorf("a body of MaxBody: %v", err)
	}
	var refused *logto.DataError
	if _, err := client.MergeCustomData(t.Context(), id, map[string]any{"a": strings.Repeat("x", room+1)}); !errors.As(err, &refused) {
		t.Errorf("a body of MaxBody+1: %v", err)
	}
}

// Whatever CheckCustomData lets pass comes back equal; whatever it refuses would not have.
func TestWhatPassesTheCheckComesBackEqual(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	client := newClient(t, tenant)
	passed, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		data := map[string]any{"v": anyData(3).Draw(rt, "value")}
		if err := logto.CheckCustomData(data); err != nil {
			refused++
			return
		}
		passed++
		got, err := client.ReplaceCustomData(t.Context(), id, data)
		if err != nil {
			rt.Fatal(err)
		}
		if !logto.EqualData(got, data) {
			rt.Fatalf("sent %v, got %v", data, got)
		}
	})
	if passed == 0 || refused == 0 {
		t.Errorf("%d passed and %d were refused, so nothing was shown", passed, refused)
	}
}

func TestARedirectIsNotFollowedAndNotTakenForDone(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { elsewhere++ }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		}))
		client := newClientWith(t, old.URL, old.Client())
		_, err := client.MergeCustomData(t.Context(), "u1", map[string]any{"a": 1})
		if err == nil || !strings.Contains(err.Error(), other.URL) {
			t.Errorf("%d: got %v, want where it leads to", status, err)
		}
		if _, err := client.UsersBy(t.Context(), logto.ByEmail, []string{"ann@example.com"}); err == nil {
			t.Errorf("%d: a search was redirected", status)
		}
		old.Close()
	}
	if elsewhere > 0 {
		t.Errorf("%d requests went to another host", elsewhere)
	}
}
