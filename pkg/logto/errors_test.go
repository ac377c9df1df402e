package logto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each recorded failure of the Management API: what an operator sees, and what a program can match.
func TestMessagesOfRecordedFailures(t *testing.T) {
	files, err := filepath.Glob("logtotest/testdata/answers/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden bytes.Buffer
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var x struct {
			Name     string
			Request  struct{ Path string }
			Response struct {
				Status  int
				Headers map[string]any
				Body    json.RawMessage
			}
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(x.Request.Path, "/api/") || x.Response.Status < 400 {
			continue
		}
		body := []byte(x.Response.Body)
		if text := ""; json.Unmarshal(body, &text) == nil {
			body = []byte(text)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Logto-Core-Request-Id", fmt.Sprint(x.Response.Headers["Logto-Core-Request-Id"]))
			w.WriteHeader(x.Response.Status)
			if _, err := w.Write(body); err != nil {
				t.Error(err)
			}
		}))
		client := newClientWith(t, server.URL, server.Client())
		if strings.Contains(x.Name, "patch") {
			_, err = client.MergeCustomData(t.Context(), "ann", map[string]any{"a": 1})
		} else {
			_, err = client.UsersBy(t.Context(), logto.ByID, []string{"ann"})
		}
		server.Close()
		var answer *logto.Error
		if !errors.As(err, &answer) {
			t.Fatalf("%s: %v is not an *Error", x.Name, err)
		}
		fmt.Fprintf(&golden, "%s\n  %v\n  matches %s\n", x.Name, err, strings.Join(sentinels(err), ", "))
		if bytes.Contains(golden.Bytes(), []byte("payload")) || strings.Contains(err.Error(), "shopping.api") {
			t.Errorf("%s: the message has the claims of a token: %v", x.Name, err)
		}
	}
	compareGolden(t, "testdata/errors.golden", golden.Bytes())
}

// sentinels are the names of those that the error matches.
func sentinels(err error) []string {
	names := []string{}
	for _, s := range []struct {
		name string
		err  error
	}{{"ErrNotFound", logto.ErrNotFound}, {"ErrExists", logto.ErrExists}, {"ErrUnauthorized", logto.ErrUnauthorized}, {"ErrForbidden", logto.ErrForbidden},
		{"ErrRateLimited", logto.ErrRateLimited}, {"ErrUnavailable", logto.ErrUnavailable}} {
		if errors.Is(err, s.err) {
			names = append(names, s.name)
		}
	}
	if len(names) == 0 {
		return []string{"none"}
	}
	return names
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", file, diff)
	}
}

func TestAnswersThatWereNotRecorded(t *testing.T) {
	tests := []struct {
		name    string
		fault   logtotest.Fault
		matches string
		says    []string
		not     string
	}{
		{"rate limit", logtotest.Fault{Status: 429}, "ErrRateLimited", []string{"429 Too Many Requests", "200 requests per 10 s"}, ""},
		{"gateway", logtotest.Fault{Status: 502, Body: "<html>secret</html>"}, "ErrUnavailable", []string{"502 Bad Gateway"}, "html"},
		{"another 404", logtotest.Fault{Status: 404, Body: `{"code":"user.user_not_exists","message":"gone"}`}, "ErrNotFound", []string{"404 user.user_not_exists: gone"}, ""},
		{"a message for a log", logtotest.Fault{Status: 400, Body: `{"code":"x","message":"two\nlines"}`}, "none", []string{"two lines"}, "\n"},
		{"an endless message", logtotest.Fault{Status: 400, Body: `{"message":"` + strings.Repeat("x", 5000) + `"}`}, "none", []string{"xxx…"}, strings.Repeat("x", 301)},
		{"no success but not an error", logtotest.Fault{Status: 204}, "none", []string{"204 No Content"}, ""},
		{"a success that is not JSON", logtotest.Fault{Status: 200, Body: "<html>secret</html>"}, "none", []string{"is this endpoint a Logto server?", "request id"}, "html"},
		{"a success of another shape", logtotest.Fault{Status: 200, Body: `{"id": 7, "x": "secret"}`}, "none", []string{"is this endpoint a Logto server?"}, "secret"},
		{"a success cut short", logtotest.Fault{Status: 200, Body: `{"id": "ann`}, "none", []string{"reading the answer"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tenant := logtotest.New(t)
			tenant.Inject(tt.fault)
			_, err := newClient(t, tenant).User(t.Context(), "ann")
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.Join(sentinels(err), ", "); got != tt.matches {
				t.Errorf("matches %s, not %s", got, tt.matches)
			}
			for _, s := range append(tt.says, "GET /api/users/ann") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("%q says %q", err, tt.not)
			}
		})
	}
}

// An answer without an end must not fill the memory of a function.
func TestAnAnswerIsReadOnlySoFar(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(`"` + strings.Repeat("x", 1<<20) + `",`)
		if _, err := w.Write([]byte(`[`)); err != nil {
			return
		}
		for range 100 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	_, err := newClientWith(t, server.URL, server.Client()).User(t.Context(), "ann")
	if err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("got %v", err)
	}
}

// What the transport under the client says must stay matchable: m2m's errors are found so.
func TestATransportsErrorIsWrappedAndValuesAreNotShown(t *testing.T) {
	cause := errors.New("no token")
	client := newClientWith(t, "https://tenant.logto.app", &http.Client{Transport: failing{cause}})
	_, err := client.UsersBy(t.Context(), logto.ByEmail, []string{"ann@example.com"})
	if !errors.Is(err, cause) {
		t.Errorf("%v does not wrap the cause", err)
	}
	if want := "finding users by primaryEmail: GET /api/users: no token"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestNewClientNamesWhatIsWrong(t *testing.T) {
	tests := []struct{ endpoint, says string }{
		{"", "has no scheme or host"},
		{"tenant.logto.app", "has no scheme or host"},
		{"ftp://tenant.logto.app", "has no scheme or host"},
		{"https://tenant.logto.app?x=1", "has a query, fragment or user"},
		{"https://ann:password@tenant.logto.app", "has a query, fragment or user"},
		{"https://ann:password@tenant.logto.app:port", "is not an address"},
	}
	for _, tt := range tests {
		_, err := logto.NewClient(logto.Config{Endpoint: tt.endpoint, HTTPClient: http.DefaultClient})
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "password") {
			t.Errorf("%s: %v", tt.endpoint, err)
		}
	}
	if _, err := logto.NewClient(logto.Config{Endpoint: "https://tenant.logto.app"}); err == nil || !strings.Contains(err.Error(), "m2m.Transport") {
		t.Errorf("no HTTPClient: %v", err)
	}
}

func TestAnEndpointMayEndWithASlashAndHaveAPath(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	if _, err := newClientWith(t, tenant.URL+"/", tenant.ManagementClient()).User(t.Context(), id); err != nil {
		t.Error(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/logto/api/users/ann" {
			t.Errorf("got %s", r.URL.Path)
		}
		if _, err := w.Write([]byte(`{}`)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	if _, err := newClientWith(t, server.URL+"/logto", server.Client()).User(t.Context(), "ann"); err != nil {
		t.Error(err)
	}
}

func TestManagementResource(t *testing.T) {
	const selfHosted = "https://default.logto.app/api"
	for endpoint, want := range map[string]string{
		"https://abc123.logto.app":      "https://abc123.logto.app/api",
		"https://abc123.logto.app/":     "https://abc123.logto.app/api",
		"https://ABC123.logto.app":      "https://abc123.logto.app/api",
		"https://auth.example.com":      selfHosted,
		"http://127.0.0.1:3001":         selfHosted,
		"https://logto.app":             selfHosted,
		"https://abc.logto.app.evil.io": selfHosted,
		"https://evillogto.app":         selfHosted,
		"https://a.b.logto.app":         selfHosted,
		":":                             selfHosted,
	} {
		if got := logto.ManagementResource(endpoint); got != want {
			t.Errorf("%s: %s, not %s", endpoint, got, want)
		}
	}
}
