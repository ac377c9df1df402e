package logtotest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

type webhook struct {
	Request struct {
		Headers map[string]string
		Body    string
	}
	SigningKey string
}

func readWebhook(t *testing.T, name string) webhook {
	t.Helper()
	raw, err := os.ReadFile("testdata/webhook-" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var w webhook
	if err := json.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// receiver keeps what it is sent and answers with the status.
type receiver struct {
	*httptest.Server
	status int

	mu      sync.Mutex
	headers []http.Header
	bodies  []string
}

func newReceiver(t *testing.T, status int) *receiver {
	r := &receiver{status: status}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.headers = append(r.headers, req.Header)
		r.bodies = append(r.bodies, string(body))
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// masked replaces what differs from tenant to tenant: ids and times.
func masked(body, userID, hookID string) string {
	body = strings.NewReplacer(userID, "<user>", hookID, "<hook>").Replace(body)
	body = regexp.MustCompile(`"createdAt":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`).ReplaceAllString(body, `"createdAt":"<time>"`)
	return regexp.MustCompile(`"(createdAt|updatedAt)":\d{13}\b`).ReplaceAllString(body, `"$1":"<time>"`)
}

func TestSignaturesOfRecordedWebhooks(t *testing.T) {
	for _, name := range []string{"user-created", "custom-data-updated", "custom-data-noop", "user-updated", "suspended", "user-deleted"} {
		w := readWebhook(t, name)
		if got := logtotest.Signature(w.SigningKey, []byte(w.Request.Body)); got != w.Request.Headers["logto-signature-sha-256"] {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The same requests as when the webhooks were recorded cause the same webhooks, byte for byte but for ids and times.
func TestWebhooksAreSentAsRecorded(t *testing.T) {
	tenant := logtotest.New(t)
	r := newReceiver(t, http.StatusOK)
	hook := tenant.AddHook(r.URL, logtotest.UserCreated, logtotest.UserDataUpdated, logtotest.UserSuspensionStatus, logtotest.UserDeleted)
	c := tenant.ManagementClient()
	_, _, body := send(t, c, http.MethodPost, tenant.URL+"/api/users", `{"username":"hook470915","customData":{"a":1}}`)
	var user struct{ ID string }
	if err := json.Unmarshal(body, &user); err != nil {
		t.Fatal(err)
	}
	address := tenant.URL + "/api/users/" + user.ID
	send(t, c, http.MethodPatch, address+"/custom-data", `{"customData":{"plan":"pro"}}`)
	send(t, c, http.MethodPatch, address, `{"name":"Ann"}`)
	send(t, c, http.MethodPatch, address+"/is-suspended", `{"isSuspended":true}`)
	send(t, c, http.MethodPatch, address+"/custom-data", `{"customData":{"plan":"pro"}}`)
	send(t, c, http.MethodPatch, address+"/custom-data", `{"customData":{"plan":"x"}}`)
	send(t, c, http.MethodDelete, address, "")
	tenant.FlushHooks()

	names := []string{"user-created", "custom-data-updated", "user-updated", "suspended", "custom-data-noop", "", "user-deleted"}
	if len(r.bodies) != len(names) {
		t.Fatalf("%d webhooks, not %d", len(r.bodies), len(names))
	}
	for i, name := range names {
		if name == "" {
			continue // was not kept in the record
		}
		w := readWebhook(t, name)
		want := masked(w.Request.Body, "551vi8z8tdm8", "afj1o9t9avj9z1wgilmaj")
		if diff := cmp.Diff(want, masked(r.bodies[i], user.ID, hook.ID)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		for k, v := range w.Request.Headers {
			switch k {
			case "logto-signature-sha-256":
				v = logtotest.Signature(hook.SigningKey, []byte(r.bodies[i]))
			case "content-length", "x-test": // the length is net/http's; x-test was configured in the recorded hook
				continue
			}
			if got := r.headers[i].Get(k); got != v {
				t.Errorf("%s: header %s is %q, not %q", name, k, got, v)
			}
		}
	}
}

// Logto's source, not recorded: what the request that caused an event says of itself is in the event.
func TestAWebhookNamesTheUserAgentOfTheRequestThatCausedIt(t *testing.T) {
	tenant := logtotest.New(t)
	r := newReceiver(t, http.StatusOK)
	tenant.AddHook(r.URL, logtotest.UserCreated)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tenant.URL+"/api/users", strings.NewReader(`{"username":"ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "m2mjobs")
	do(t, tenant.ManagementClient(), req)
	tenant.AddUser(logtotest.User{}) // no request did
	tenant.FlushHooks()
	var got []string
	for _, body := range r.bodies {
		var event struct {
			UserAgent string `json:"userAgent"`
		}
		if err := json.Unmarshal([]byte(body), &event); err != nil {
			t.Fatal(err)
		}
		got = append(got, event.UserAgent)
	}
	if diff := cmp.Diff([]string{"m2mjobs", ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedDeliveryIsNotRepeatedAndStaysInTheRecentLogs(t *testing.T) {
	tenant := logtotest.New(t)
	r := newReceiver(t, http.StatusInternalServerError)
	hook := tenant.AddHook(r.URL, logtotest.UserDataUpdated)
	dead := tenant.AddHook("http://127.0.0.1:1", logtotest.UserDataUpdated)
	id := tenant.AddUser(logtotest.User{}) // nobody listens to this
	tenant.SetCustomData(id, map[string]any{"a": 1})
	tenant.FlushHooks()
	if len(r.bodies) != 1 {
		t.Errorf("%d deliveries, not 1", len(r.bodies))
	}
	for _, tt := range []struct {
		hook   logtotest.Hook
		status int
	}{{hook, 500}, {dead, 0}} {
		_, header, body := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+"/api/hooks/"+tt.hook.ID+"/recent-logs?page_size=5", "")
		var logs []struct {
			Key     string
			Payload struct {
				Result, HookID, Error string
				HookRequest           struct{ Body json.RawMessage }
				Response              struct{ StatusCode int }
			}
		}
		if err := json.Unmarshal(body, &logs); err != nil {
			t.Fatal(err)
		}
		if header.Get("Total-Number") != "1" || len(logs) != 1 || logs[0].Key != "TriggerHook.User.Data.Updated" || logs[0].Payload.Result != "Error" ||
			logs[0].Payload.HookID != tt.hook.ID || logs[0].Payload.Error == "" || logs[0].Payload.Response.StatusCode != tt.status {
			t.Errorf("%s", body)
		}
		if tt.status != 0 && string(logs[0].Payload.HookRequest.Body) != r.bodies[0] {
			t.Errorf("logged %s\nsent   %s", logs[0].Payload.HookRequest.Body, r.bodies[0])
		}
	}
	if status, _, _ := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+"/api/hooks/nope/recent-logs", ""); status != 404 {
		t.Errorf("an unknown hook: %d", status)
	}
}

// Closing must not wait for a receiver that never answers.
func TestCloseDropsWaitingWebhooks(t *testing.T) {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	arrived, release := make(chan bool, 1), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- true
		<-release
	}))
	defer server.Close()
	defer close(release)
	tenant.AddHook(server.URL, logtotest.UserCreated)
	tenant.AddUser(logtotest.User{})
	tenant.AddUser(logtotest.User{})
	<-arrived
	start := time.Now()
	tenant.Close()
	tenant.Close() // once more does nothing
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
