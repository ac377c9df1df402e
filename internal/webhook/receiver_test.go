package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// invoke goes the whole way that Lambda goes: JSON in, JSON out.
func (s *setup) invoke(t testing.TB, r events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
	t.Helper()
	payload, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	var response events.LambdaFunctionURLResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		t.Fatal(err)
	}
	return response
}

func TestRecordedWebhooksReachTheBus(t *testing.T) {
	const user, hook = "551vi8z8tdm8", "afj1o9t9avj9z1wgilmaj"
	want := map[string]Event{
		"user-created": {Event: "User.Created", MatchedRoute: "/users"},
		"user-updated": {Event: "User.Data.Updated", MatchedRoute: "/users/:userId"},
		"suspended":    {Event: "User.SuspensionStatus.Updated", MatchedRoute: "/users/:userId/is-suspended"},
		"user-deleted": {Event: "User.Deleted", MatchedRoute: "/users/:userId"},
	}
	for _, name := range recordedNames {
		t.Run(name, func(t *testing.T) {
			r := readRecorded(t, name)
			s := newSetup(t, keyed(r.SigningKey), "id")
			for _, isBase64 := range []bool{false, true} {
				req := request(r.Request.Headers, r.Request.Body)
				if isBase64 {
					req.Body, req.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte(req.Body)), true
				}
				if got := s.invoke(t, req); got.StatusCode != http.StatusOK {
					t.Fatalf("base64 %v: %d: %s", isBase64, got.StatusCode, s.log)
				}
			}
			event, onBus := want[name]
			if !onBus {
				if taken := s.bridge.taken(); len(taken) != 0 {
					t.Errorf("an update of custom data is on the bus: %v", taken)
				}
				return
			}
			digest, err := Digest([]byte(r.Request.Body))
			if err != nil {
				t.Fatal(err)
			}
			event.HookID, event.UserID, event.Delivery = hook, user, digest
			event.Data = map[string]json.RawMessage{"id": json.RawMessage(`"` + user + `"`)}
			taken := s.bridge.taken()
			if len(taken) != 2 || s.bridge.calls != 2 {
				t.Fatalf("%d events by %d requests, want 2 by 2", len(taken), s.bridge.calls)
			}
			got := taken[0].event(t)
			event.CreatedAt = got.CreatedAt
			if diff := cmp.Diff(event, got); diff != "" {
				t.Errorf("detail (-want +got):\n%s", diff)
			}
			if e := taken[0]; e.Source != "logto" || e.DetailType != event.Event || e.EventBusName != busName || e.Time != millis(got.CreatedAt) {
				t.Errorf("%+v", e)
			}
			if !strings.Contains(r.Request.Body, got.CreatedAt.UTC().Format(`"createdAt":"2006-01-02T15:04:05.000Z"`)) {
				t.Errorf("createdAt is %v", got.CreatedAt)
			}
			if taken[0] != taken[1] {
				t.Error("the body in base64 makes another event")
			}
		})
	}
}

func TestOneChangedByteIsRefused(t *testing.T) {
	r := readRecorded(t, "user-created")
	s := newSetup(t, keyed(r.SigningKey), "id")
	for i := range r.Request.Body {
		changed := []byte(r.Request.Body)
		changed[i] ^= 1
		if v := s.verdict(t.Context(), request(r.Request.Headers, string(changed))); v.status != http.StatusUnauthorized {
			t.Fatalf("byte %d: %d", i, v.status)
		}
	}
	signature := r.Request.Headers[signatureHeader]
	for i := range signature {
		changed := []byte(signature)
		changed[i] = "01"[1-changed[i]&1] // another digit whose last bit differs
		if v := s.verdict(t.Context(), request(map[string]string{signatureHeader: string(changed)}, r.Request.Body)); v.status != http.StatusUnauthorized {
			t.Fatalf("digit %d: %d", i, v.status)
		}
	}
	if len(s.bridge.taken()) != 0 {
		t.Error("an event is on the bus")
	}
}

func TestAnswers(t *testing.T) {
	good := body("User.Created", `,"data":{"id":"u1"}`)
	large := body("User.Created", `,"data":{"id":"`+strings.Repeat("x", maxBody)+`"}`)
	get := signed(documentedKey, good)
	get.RequestContext.HTTP.Method = http.MethodGet
	upper := request(map[string]string{"Logto-Signature-Sha-256": logtotest.Signature(documentedKey, []byte(good))}, good)
	noBase64 := signed(documentedKey, good)
	noBase64.IsBase64Encoded = true
	tests := map[string]struct {
		request events.LambdaFunctionURLRequest
		status  int
		body    string
	}{
		"right":                {signed(documentedKey, good), 200, "ok\n"},
		"a header's case":      {upper, 200, "ok\n"},
		"no signature":         {request(nil, good), 401, "unauthorized\n"},
		"another key":          {signed("another", good), 401, "unauthorized\n"},
		"a signature cut":      {request(map[string]string{signatureHeader: "c33bdd88"}, good), 401, "unauthorized\n"},
		"a signature not hex":  {request(map[string]string{signatureHeader: strings.Repeat("z", 64)}, good), 401, "unauthorized\n"},
		"GET":                  {get, 405, "method not allowed\n"},
		"too large":            {signed(documentedKey, large), 413, "request entity too large\n"},
		"not base64":           {noBase64, 400, "bad request\n"},
		"empty":                {signed(documentedKey, ""), 400, "bad request\n"},
		"not JSON":             {signed(documentedKey, "hello"), 400, "bad request\n"},
		"null":                 {signed(documentedKey, "null"), 400, "bad request\n"},
		"an array":             {signed(documentedKey, "[]"), 400, "bad request\n"},
		"no event":             {signed(documentedKey, `{"createdAt":"2026-11-23T21:55:15.873Z","hookId":"h"}`), 400, "bad request\n"},
		"a strange event name": {signed(documentedKey, body("User Created", "")), 400, "bad request\n"},
		"a long event name":    {signed(documentedKey, body(strings.Repeat("A", 129), "")), 400, "bad request\n"},
		"no time":              {signed(documentedKey, `{"event":"User.Created","createdAt":"soon","hookId":"h"}`), 400, "bad request\n"},
		"no hook":              {signed(documentedKey, `{"event":"User.Created","createdAt":"2026-11-23T21:55:15.873Z"}`), 400, "bad request\n"},
		"a long user id":       {signed(documentedKey, body("User.Created", `,"userId":"`+strings.Repeat("u", 129)+`"`)), 400, "bad request\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, keyed(documentedKey), "id")
			got := s.invoke(t, test.request)
			if got.StatusCode != test.status || got.Body != test.body {
				t.Errorf("%d %q, want %d %q: %s", got.StatusCode, got.Body, test.status, test.body, s.log)
			}
			if onBus := len(s.bridge.taken()); (onBus == 1) != (test.status == 200) {
				t.Errorf("%d events on the bus", onBus)
			}
			if test.status == 405 && got.Headers["Allow"] != "POST" {
				t.Errorf("Allow is %q", got.Headers["Allow"])
			}
		})
	}
}

func TestWhatIsNoRequestOfAFunctionURLIsAnError(t *testing.T) {
	s := newSetup(t, keyed(documentedKey))
	for _, payload := range []string{"", "[]", `{"headers":1}`} {
		if _, err := s.Invoke(t.Context(), []byte(payload)); err == nil {
			t.Errorf("%q: no error", payload)
		}
	}
}

func TestABusThatTakesNothingIsToldToLogto(t *testing.T) {
	tests := map[string]struct {
		status       int
		body, reason string
	}{
		"an entry refused":  {200, `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"ThrottlingException","ErrorMessage":"slow down"}]}`, "ThrottlingException: slow down"},
		"no entry answered": {200, `{"FailedEntryCount":0,"Entries":[]}`, "did not take the event"},
		"no permission":     {400, `{"__type":"AccessDeniedException","message":"no"}`, "needs events:PutEvents"},
		"an outage":         {500, `{"__type":"InternalException","message":"down"}`, "InternalException"},
		"no such bus":       {400, `{"__type":"ResourceNotFoundException","message":"Event bus shop does not exist."}`, "does not exist"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t, keyed(documentedKey), "id")
			s.bridge.answering(func(int) (int, string) { return test.status, test.body })
			got := s.invoke(t, signed(documentedKey, body("User.Created", "")))
			if got.StatusCode != http.StatusServiceUnavailable || got.Body != "service unavailable\n" {
				t.Errorf("%d %q", got.StatusCode, got.Body)
			}
			if log := s.log.String(); !strings.Contains(log, test.reason) || !strings.Contains(log, `"outcome":"failed"`) {
				t.Errorf("the log does not say %q: %s", test.reason, log)
			}
		})
	}
}

// keySource is a secret that changes.
type keySource struct {
	mu    sync.Mutex
	key   string
	err   error
	reads int
}

func (k *keySource) read(context.Context) (Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	return Secret{SigningKey: k.key}, k.err
}

func (k *keySource) set(key string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.err = key, err
}

func TestARotatedKeyIsReadAgainAtMostOnceAMinute(t *testing.T) {
	source := &keySource{key: "the-first-key"}
	s := newSetup(t, source.read)
	clock := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	s.keeper.now = func() time.Time { return clock }
	b := body("User.Created", "")
	steps := []struct {
		what   string
		after  time.Duration
		change func()
		signer string
		status int
		reads  int
	}{
		{"the first delivery", 0, nil, "the-first-key", 200, 1},
		{"the key is kept", time.Hour, nil, "the-first-key", 200, 1},
		{"a wrong signature", 0, nil, "an-attacker's", 401, 2},
		{"a flood of them", 59 * time.Second, nil, "an-attacker's", 401, 2},
		{"rotated, too soon to look", 0, func() { source.set("the-second-key", nil) }, "the-second-key", 401, 2},
		{"rotated", time.Second, nil, "the-second-key", 200, 3},
		{"the old key is gone", time.Minute, nil, "the-first-key", 401, 4},
		{"the secret can't be read", time.Minute, func() { source.set("", errors.New("throttled")) }, "an-attacker's", 401, 5},
		{"the key that there was is kept", 0, nil, "the-second-key", 200, 5},
	}
	for _, step := range steps {
		clock = clock.Add(step.after)
		if step.change != nil {
			step.change()
		}
		if got := s.invoke(t, signed(step.signer, b)); got.StatusCode != step.status || source.reads != step.reads {
			t.Errorf("%s: %d after %d reads, want %d after %d", step.what, got.StatusCode, source.reads, step.status, step.reads)
		}
	}
}

func TestASecretThatCannotBeReadIsToldToLogto(t *testing.T) {
	source := &keySource{err: errors.New("secret shop/logto-webhook: there is none of this name")}
	s := newSetup(t, source.read)
	b := body("User.Created", "")
	if got := s.invoke(t, signed(documentedKey, b)); got.StatusCode != 503 || !strings.Contains(s.log.String(), "there is none of this name") {
		t.Errorf("%d: %s", got.StatusCode, s.log)
	}
	source.set(documentedKey, nil)
	if got := s.invoke(t, signed(documentedKey, b)); got.StatusCode != 200 {
		t.Errorf("once it is there: %d", got.StatusCode)
	}
}

func TestADeliveryIsOneLineWithItsMetrics(t *testing.T) {
	s := newSetup(t, keyed(documentedKey), "id")
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "request-1"})
	s.Deliver(ctx, signed(documentedKey, body("User.Created", `,"data":{"id":"u1","name":"Ann"}`)))
	s.Deliver(ctx, signed("another", body("User.Created", `,"data":{"id":"u1","name":"Ann"}`)))
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), s.log)
	}
	wants := []map[string]any{
		{
			"level": "INFO", "msg": "delivery", "stack": "local", "job": "logto-webhook", "outcome": "accepted", "status": 200.0, "requestId": "request-1",
			"event": "User.Created", "hookId": "afj1o9t9avj9z1wgilmaj", "userId": "u1",
			"deliveries_accepted": 1.0, "deliveries_echo": 0.0, "deliveries_refused": 0.0, "deliveries_failed": 0.0,
		},
		{
			"level": "WARN", "msg": "delivery", "stack": "local", "job": "logto-webhook", "outcome": "refused", "status": 401.0, "requestId": "request-1",
			"event": nil, "hookId": nil, "userId": nil, "delivery": nil,
			"deliveries_accepted": 0.0, "deliveries_echo": 0.0, "deliveries_refused": 1.0, "deliveries_failed": 0.0,
		},
	}
	for i, want := range wants {
		var got map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		for key, value := range want {
			if got[key] != value {
				t.Errorf("line %d: %s is %v, want %v", i, key, got[key], value)
			}
		}
		var metrics struct {
			AWS directive `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(lines[i]), &metrics); err != nil {
			t.Fatal(err)
		}
		set := metrics.AWS.CloudWatchMetrics[0]
		if want := [][]string{{"stack", "job"}}; !cmp.Equal(set.Dimensions, want) {
			t.Errorf("dimensions %q, want %q", set.Dimensions, want)
		}
		for _, m := range set.Metrics {
			if _, ok := got[m.Name].(float64); !ok {
				t.Errorf("the metric %s has no value", m.Name)
			}
		}
		if strings.Contains(lines[i], "Ann") {
			t.Errorf("the user's name is in the log: %s", lines[i])
		}
	}
}
