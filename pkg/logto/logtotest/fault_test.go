package logtotest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const patchRoute = "PATCH /api/users/{id}/custom-data"

// try sends a PATCH of one user's custom data and tells its status, or 0 for an error.
func try(t *testing.T, tenant *logtotest.Tenant, id, data string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, tenant.URL+"/api/users/"+id+"/custom-data",
		strings.NewReader(`{"customData":`+data+`}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := tenant.ManagementClient().Do(req)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestFaultsHitByRouteAndCount(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	tenant.Inject(logtotest.Fault{Route: patchRoute, After: 1, Times: 2, Status: 503})
	tenant.Inject(logtotest.Fault{Route: patchRoute, After: 2, Status: 429, Header: map[string]string{"Retry-After": "7"}})
	tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", Times: -1, Status: 500})
	var got []int
	for range 7 {
		status, err := try(t, tenant, id, `{}`)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	// The second fault sees the requests that the first let pass.
	if diff := cmp.Diff([]int{200, 503, 503, 200, 429, 200, 200}, got); diff != "" {
		t.Error(diff)
	}
	app := tenant.AddApp("sync")
	for range 3 {
		if status, _ := askToken(t, tenant, app, nil); status != 500 {
			t.Errorf("token: %d", status)
		}
	}
	tenant.ClearFaults()
	if status, _ := askToken(t, tenant, app, management()); status != 200 {
		t.Errorf("token without a fault: %d", status)
	}
	if n := tenant.Requests(patchRoute); n != 7 {
		t.Errorf("%d requests, not 7", n)
	}
	if n := tenant.Requests(""); n != 11 {
		t.Errorf("%d requests in all, not 11", n)
	}
}

func TestAFaultsStatusHasNoEffectAndItsHeaderAndBodyArrive(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{CustomData: map[string]any{"a": 1}})
	tenant.Inject(logtotest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}, Body: `{"code":"x"}`})
	status, header, body := send(t, tenant.ManagementClient(), http.MethodPatch, tenant.URL+"/api/users/"+id+"/custom-data", `{"customData":{"a":2}}`)
	if status != 429 || header.Get("Retry-After") != "7" || string(body) != `{"code":"x"}` ||
		header.Get("Content-Type") != "application/json; charset=utf-8" || header.Get("Logto-Core-Request-Id") == "" {
		t.Errorf("%d %v %s", status, header, body)
	}
	if got := tenant.CustomData(id)["a"]; got == "2" {
		t.Error("the request took effect")
	}
	// Broken JSON is sent as it is.
	tenant.Inject(logtotest.Fault{Status: 200, Body: `{"access_token":`})
	if _, _, body := send(t, tenant.Client(), http.MethodPost, tenant.URL+"/oidc/token", ""); string(body) != `{"access_token":` {
		t.Errorf("got %s", body)
	}
	// The real answer with one more header.
	tenant.Inject(logtotest.Fault{Header: map[string]string{"X-Test": "1"}})
	if status, header, _ := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+"/api/users/"+id, ""); status != 200 || header.Get("X-Test") != "1" || header.Get("ETag") == "" {
		t.Errorf("%d %v", status, header)
	}
}

func TestFaultStatusesHaveLogtosBodies(t *testing.T) {
	tenant := logtotest.New(t)
	for _, tt := range []struct {
		route, says string
		status      int
	}{
		{"/api/users", "auth.unauthorized", 401}, {"/api/users", "auth.forbidden", 403}, {"/api/users", "entity.not_found", 404},
		{"/api/users", "Too Many Requests", 429}, {"/api/users", "Internal server error.", 500}, {"/api/users", "Bad Gateway", 502},
		{"/oidc/jwks", "oidc.invalid_client", 401}, {"/oidc/jwks", "oidc.invalid_request", 400}, {"/api/users", "599", 599},
	} {
		tenant.Inject(logtotest.Fault{Status: tt.status})
		status, _, body := send(t, tenant.Client(), http.MethodGet, tenant.URL+tt.route, "")
		if status != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s %d: %d %s", tt.route, tt.status, status, body)
		}
	}
}

func TestAResetCutsTheConnectionBeforeOrAfterTheEffect(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	tenant.Inject(logtotest.Fault{Route: patchRoute, Reset: true})
	tenant.Inject(logtotest.Fault{Route: patchRoute, ResetAfter: true})
	for i, want := range []any{nil, true} {
		_, err := try(t, tenant, id, `{"done":true}`)
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("%d: %v", i, err)
		}
		if got := tenant.CustomData(id)["done"]; got != want {
			t.Errorf("%d: stored %v, not %v", i, got, want)
		}
	}
}

// Everything in memory, and time in the bubble's hands: an hour of latency takes no time.
func TestATenantLivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := logtotest.NewWith(t, logtotest.Config{Listener: logtotest.NewPipeListener()})
		id := tenant.AddUser(logtotest.User{ID: "ann000000000"})
		tenant.Inject(logtotest.Fault{Route: patchRoute, Latency: time.Hour})
		tenant.Inject(logtotest.Fault{Route: patchRoute, SlowBody: time.Minute})
		tenant.Inject(logtotest.Fault{Route: patchRoute, Reset: true})
		for i, want := range []time.Duration{time.Hour, time.Minute, 0} {
			start := time.Now()
			_, err := try(t, tenant, id, `{"i":1,"j":2}`)
			if (err != nil) != (i == 2) {
				t.Errorf("%d: %v", i, err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("%d took %v, not %v", i, took, want)
			}
		}
	})
}

func TestWhoGivesUpWaitingLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := logtotest.NewWith(t, logtotest.Config{Listener: logtotest.NewPipeListener()})
		tenant.Inject(logtotest.Fault{Latency: 1000 * time.Hour, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, tenant.URL+"/oidc/jwks", nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		resp, err := tenant.Client().Do(req)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", resp, err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestThePipeListenerClosesAndItsDialEndsWithItsContext(t *testing.T) {
	l := logtotest.NewPipeListener()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.DialContext(ctx, "tcp", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v", err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Accept(); err == nil {
		t.Error("accepted after Close")
	}
	if _, err := l.DialContext(t.Context(), "tcp", "x"); err == nil {
		t.Error("dialled after Close")
	}
}

// 200 requests at once, then 20 a second.
func TestCloudLimit(t *testing.T) {
	now := time.Now()
	tenant := logtotest.NewWith(t, logtotest.Config{CloudLimit: true, Now: func() time.Time { return now }})
	passed := func(n int) (passed int) {
		for range n {
			if status, _, _ := send(t, tenant.Client(), http.MethodGet, tenant.URL+"/oidc/jwks", ""); status == 200 {
				passed++
			} else if status != 429 {
				t.Fatalf("%d", status)
			}
		}
		return passed
	}
	if n := passed(205); n != 200 {
		t.Errorf("%d passed at once", n)
	}
	now = now.Add(time.Second)
	if n := passed(25); n != 20 {
		t.Errorf("%d passed after a second", n)
	}
	tenant.SetCloudLimit(false)
	if n := passed(10); n != 10 {
		t.Errorf("%d of 10 passed without a limit", n)
	}
	tenant.SetCloudLimit(true)
	if n := passed(201); n != 200 {
		t.Errorf("%d passed with the limit on again", n)
	}
	if n := tenant.Requests("GET /oidc/jwks"); n != 205+25+10+201 {
		t.Errorf("%d requests are counted: refused ones count too", n)
	}
}

func TestARequestThatNoRouteTakesIsCountedByItsPath(t *testing.T) {
	tenant := logtotest.New(t)
	for _, path := range []string{"/api/no-such-route", "/api//users", "/api/users/"} {
		if status, _, body := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+path, ""); status != 404 || string(body) != "Not Found" {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if n := tenant.Requests("GET " + path); n != 1 {
			t.Errorf("%s: counted %d", path, n)
		}
	}
}
