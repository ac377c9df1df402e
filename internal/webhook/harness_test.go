package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// documentedKey signs the sample events beside the function.
	documentedKey = "a-signing-key-for-tests-only-0000"
	busName       = "shop"
)

// recorded is a webhook as a real Logto sent it.
type recorded struct {
	Request struct {
		Headers map[string]string
		Body    string
	}
	SigningKey string
}

var recordedNames = []string{"user-created", "user-updated", "suspended", "user-deleted", "custom-data-updated", "custom-data-noop"}

func readRecorded(t testing.TB, name string) recorded {
	t.Helper()
	data, err := os.ReadFile("testdata/webhook-" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// busEntry is an event as PutEvents sends it.
type busEntry struct {
	EventBusName, Source, DetailType, Detail string
	Time                                     float64
}

func (e busEntry) event(t testing.TB) Event {
	t.Helper()
	var event Event
	if err := json.Unmarshal([]byte(e.Detail), &event); err != nil {
		t.Fatalf("detail %s: %v", e.Detail, err)
	}
	return event
}

// bridge is as much of EventBridge over HTTP as this package uses. It is the real service's protocol, AWS JSON 1.1.
type bridge struct {
	*httptest.Server

	mu      sync.Mutex
	calls   int
	entries []busEntry
	answer  func(call int) (status int, body string) // nil: every entry is taken
	onPut   func(busEntry)                           // called for each one taken
}

func newBridge(t testing.TB) *bridge {
	b := &bridge{}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if target := r.Header.Get("X-Amz-Target"); target != "AWSEvents.PutEvents" {
		http.Error(w, "not PutEvents: "+target, http.StatusNotFound)
		return
	}
	var input struct{ Entries []busEntry }
	if err := json.NewDecoder(r.Body).Decode(&input); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.calls++
	status, body := http.StatusOK, ""
	if b.answer != nil {
		status, body = b.answer(b.calls)
	}
	if body == "" {
		b.entries = append(b.entries, input.Entries...)
		body = `{"FailedEntryCount":0,"Entries":[{"EventId":"11710aed-b79e-4468-a20b-bb3c0c3b4860"}]}`
	} else {
		input.Entries = nil
	}
	onPut := b.onPut
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	io.WriteString(w, body)
	if onPut != nil {
		for _, e := range input.Entries {
			onPut(e)
		}
	}
}

// taken are the events that are on the bus.
func (b *bridge) taken() []busEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]busEntry(nil), b.entries...)
}

func (b *bridge) answering(answer func(call int) (int, string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// client is the SDK's own, without waits between its attempts.
func (b *bridge) client(context.Context) (EventBridge, error) {
	return eventbridge.New(eventbridge.Options{
		BaseEndpoint: &b.URL, Region: "eu-central-1", HTTPClient: b.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}), nil
}

// buffer is a log that goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// keyed is a secret that does not change.
func keyed(key string) func(context.Context) (Secret, error) {
	return func(context.Context) (Secret, error) { return Secret{SigningKey: key}, nil }
}

// setup is a receiver with its bus and its log.
type setup struct {
	*Receiver
	bridge *bridge
	log    *buffer
}

func newSetup(t testing.TB, secret func(context.Context) (Secret, error), fields ...string) *setup {
	s := &setup{bridge: newBridge(t), log: &buffer{}}
	s.Receiver = NewReceiver(Config{Secret: secret, Bus: s.bridge.client, BusName: busName, Fields: fields, Log: s.log})
	return s
}

// request is the event that a function URL makes of a POST.
func request(headers map[string]string, body string) events.LambdaFunctionURLRequest {
	r := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: "/", Headers: headers, Body: body}
	r.RequestContext.HTTP.Method = http.MethodPost
	return r
}

// signed is a request whose signature is right.
func signed(key, body string) events.LambdaFunctionURLRequest {
	return request(map[string]string{signatureHeader: logtotest.Signature(key, []byte(body))}, body)
}

// functionURL serves a handler as Lambda does at a function URL: header names in lower case, the whole of it as JSON.
func functionURL(t testing.TB, handler interface {
	Invoke(context.Context, []byte) ([]byte, error)
}) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		headers := map[string]string{}
		for name, values := range r.Header {
			headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
		event := request(headers, string(body))
		event.RequestContext.HTTP.Method = r.Method
		payload, err := json.Marshal(event)
		if err != nil {
			t.Error(err)
		}
		answer, err := handler.Invoke(r.Context(), payload)
		if err != nil {
			http.Error(w, "Internal Server Error", http.StatusBadGateway)
			return
		}
		var response events.LambdaFunctionURLResponse
		if err := json.Unmarshal(answer, &response); err != nil {
			t.Error(err)
		}
		w.WriteHeader(response.StatusCode)
		io.WriteString(w, response.Body)
	}))
	t.Cleanup(server.Close)
	return server
}

// body is a webhook with these members besides the three that each has.
func body(event, more string) string {
	return fmt.Sprintf(`{"event":%q,"createdAt":"2026-11-23T21:55:15.873Z","hookId":"afj1o9t9avj9z1wgilmaj"%s}`, event, more)
}

func millis(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
