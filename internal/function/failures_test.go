package function_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recorded is one recorded exchange.
type recorded struct {
	Name     string
	Request  struct{ Method, Path string }
	Response struct {
		Status  int
		Headers map[string]any
		Body    json.RawMessage
	}
}

// body is the response's body as it was on the wire.
func (r recorded) body(t *testing.T) string {
	var text string
	if json.Unmarshal(r.Response.Body, &text) == nil {
		return text
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, r.Response.Body); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

// route is the route that the functions call and that gives the recorded answer.
func (r recorded) route() (route string, called bool) {
	path, _, _ := strings.Cut(r.Request.Path, "?")
	switch {
	case path == "/oidc/token":
		return "POST /oidc/token", true
	case path == "/api/users" || path == "/api/no-such-route":
		return "GET /api/users", true
	case strings.HasSuffix(path, "/custom-data") && r.Request.Method == "PATCH":
		return "PATCH /api/users/{id}/custom-data", true
	case strings.HasPrefix(path, "/api/users/"):
		return "GET /api/users/{id}", true
	}
	return "", false
}

// readRecorded reads the recorded answers that are failures.
func readRecorded(t *testing.T) map[string]recorded {
	files, err := filepath.Glob("../../pkg/logto/logtotest/testdata/answers/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers: %v", err)
	}
	failures := map[string]recorded{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r recorded
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if r.Response.Status >= 400 {
			failures[r.Name] = r
		}
	}
	return failures
}

// surroundings is a tenant with one user, and the environment of a function in it.
type surroundings struct {
	tenant      *logtotest.Tenant
	app         logtotest.App
	environment function.Environment
}

func newSurroundings(t *testing.T, config logtotest.Config, grant bool) *surroundings {
	tenant := logtotest.NewWith(t, config)
	app := tenant.AddApp("sync-custom-data")
	if grant {
		tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	}
	tenant.AddUser(logtotest.User{ID: "u00000000001", PrimaryEmail: "ann@example.com", CustomData: map[string]any{"old": true}})
	secret := filepath.Join(t.TempDir(), "secret.json")
	data := fmt.Sprintf(`{"endpoint":%q,"appId":%q,"appSecret":%q}`, tenant.URL, app.ID, app.Secret)
	if err := os.WriteFile(secret, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return &surroundings{tenant, app, function.Environment{"M2M_SECRET_FILE": secret, "OUTPUT": t.TempDir()}}
}

// run syncs two rows, one by e-mail address and one that removes a key, and returns what an operator sees: the error or
// the reasons of the report, after checking that neither it nor the logs have a secret or a token in them.
func (s *surroundings) run(t *testing.T, params string) string {
	var logs bytes.Buffer
	handler, err := function.Handler(function.SyncCustomData, s.environment, func(c *jobs.Config) { c.Log = &logs })
	if err != nil {
		t.Fatal(err)
	}
	answer, runErr := handler.Invoke(t.Context(), []byte(params))
	for what, output := range map[string]string{"report": string(answer), "log": logs.String(), "error": fmt.Sprint(runErr)} {
		if strings.Contains(output, s.app.Secret) {
			t.Errorf("the %s has the app secret in it", what)
		}
		if regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.`).MatchString(output) {
			t.Errorf("the %s has a token in it", what)
		}
	}
	var report jobs.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		t.Fatalf("report: %v", err)
	}
	var seen []string
	if report.Error != "" {
		seen = append(seen, report.Error)
	}
	if report.Rejected != nil {
		for _, x := range report.Rejected.Some {
			seen = append(seen, fmt.Sprintf("row %d %s: %s", x.Line, x.Kind, x.Reason))
		}
	}
	if len(seen) == 0 {
		t.Errorf("the failure went unseen: %s", report.Outcome)
	}
	text := strings.Join(seen, "\n")
	text = strings.ReplaceAll(text, s.tenant.URL, "<endpoint>")
	text = strings.ReplaceAll(text, s.app.ID, "<app id>")
	text = regexp.MustCompile(`request [\w-]{16}`).ReplaceAllString(text, "request <request id>")
	return regexp.MustCompile(`got [\d.]+m?s ago`).ReplaceAllString(text, "got <age> ago")
}

const (
	byEmail  = `{"rows":[{"primaryEmail":"ann@example.com","customData":{"plan":"pro"}}]}`
	removing = `{"rows":[{"id":"u00000000001","remove":["old"]}]}`
)

// notCalled are recorded failures of routes that no function calls.
var notCalled = []string{
	"app-get-unknown", "secret-create-duplicate", "secret-create-past-expiry", "secret-delete-unknown",
}

func TestTheMessageOfEachRecordedFailure(t *testing.T) {
	var mu sync.Mutex
	messages := map[string]string{}
	note := func(name, message string) {
		mu.Lock()
		defer mu.Unlock()
		messages[name] = message
	}
	failures := readRecorded(t)
	t.Run("recorded", func(t *testing.T) {
		for name, r := range failures {
			route, called := r.route()
			if called == slices.Contains(notCalled, name) {
				t.Errorf("%s: is it called or not?", name)
			}
			if !called {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newSurroundings(t, logtotest.Config{}, true)
				headers := map[string]string{}
				for header, value := range r.Response.Headers {
					if text, ok := value.(string); ok && header != "Content-Length" {
						headers[header] = text
					}
				}
				s.tenant.Inject(logtotest.Fault{Route: route, Times: -1, Status: r.Response.Status, Body: r.body(t), Header: headers})
				params := byEmail
				if strings.HasPrefix(route, "GET /api/users/") {
					params = removing
				}
				note(name, s.run(t, params))
			})
		}
		// Answers 200 that are failures, and one that Logto's source tells of.
		t.Run("token-no-role", func(t *testing.T) {
			t.Parallel()
			note("token-no-role", newSurroundings(t, logtotest.Config{}, false).run(t, byEmail))
		})
		t.Run("token-quota", func(t *testing.T) {
			t.Parallel()
			s := newSurroundings(t, logtotest.Config{TokenQuota: 1}, true)
			s.run(t, `{"rows":[{"primaryEmail":"nobody@example.com","customData":{"plan":"pro"}}]}`)
			note("token-quota", s.run(t, byEmail))
		})
		t.Run("user-unknown", func(t *testing.T) {
			t.Parallel()
			s := newSurroundings(t, logtotest.Config{}, true)
			note("user-unknown", s.run(t, `{"rows":[{"primaryEmail":"nobody@example.com","customData":{"plan":"pro"}}]}`))
		})
	})
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(messages)) {
		fmt.Fprintf(&got, "# %s\n%s\n\n", name, messages[name])
	}
	const golden = "testdata/failures.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("messages changed (-want +got); go test -update writes them anew:\n%s", diff)
	}
}
