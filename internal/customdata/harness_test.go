package customdata_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

const (
	search  = "GET /api/users"
	merge   = "PATCH /api/users/{id}/custom-data"
	replace = "PATCH /api/users/{id}"
	getUser = "GET /api/users/{id}"
	token   = "POST /oidc/token"
)

// stage is a tenant and the job that works on it, wired as a function wires them.
type stage struct {
	t       testing.TB
	tenant  *logtotest.Tenant
	config  customdata.Config
	jobs    jobs.Config
	clock   *clock
	log     *buffer
	out     string        // where rejected rows are kept
	before  func(request) // sees every request before it is sent
	clients int           // how often the client was asked for
	handler lambda.Handler
}

// request is a request that is about to be sent.
type request struct {
	*http.Request
	route string // as the tenant counts it
}

// newStage sets the stage. change may adapt it before the handler is made. The client's requests bear a token that the
// tenant gives away and are not repeated; see withSource for the real way.
func newStage(t testing.TB, change ...func(*stage)) *stage {
	t.Helper()
	s := &stage{t: t, tenant: logtotest.New(t), clock: &clock{}, log: &buffer{}, out: t.TempDir()}
	s.config = customdata.Config{Files: files.New(nil), Output: s.out}
	s.useClient(s.tenant.ManagementClient().Transport)
	s.jobs = jobs.Config{
		Log: s.log,
		Now: s.clock.now,
		Keep: func(ctx context.Context, name string, data []byte) (string, error) {
			return s.config.Files.Put(ctx, s.out, name, data)
		},
	}
	for _, f := range change {
		f(s)
	}
	s.handler = jobs.Handler(customdata.Job(s.config), s.jobs)
	return s
}

func (s *stage) useClient(base http.RoundTripper) {
	s.config.Client = func(context.Context) (*logto.Client, error) {
		s.clients++
		return logto.NewClient(logto.Config{Endpoint: s.tenant.URL, HTTPClient: &http.Client{Transport: watched{s, base}}})
	}
}

// withSource gets tokens and repeats requests as a function does.
func withSource(s *stage) {
	app := s.tenant.AddApp("sync-custom-data")
	s.tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: s.tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		ResourceOf:  logto.ManagementResource,
		Scopes:      []string{"all"},
		HTTPClient:  s.tenant.Client(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &m2m.Transport{Source: source, Base: s.tenant.Client().Transport}
	s.useClient(transport)
	s.jobs.Usage = func() jobs.Usage {
		stats, used := source.Stats(), transport.Stats()
		return jobs.Usage{Requests: used.Requests, Retries: used.Retries, Tokens: stats.Tokens, SecretReads: stats.SecretReads}
	}
}

// watched shows requests to stage.before.
type watched struct {
	stage *stage
	base  http.RoundTripper
}

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.stage.before != nil {
		path := strings.Split(req.URL.Path, "/") // "", api, users, id, custom-data
		if len(path) > 3 {
			path[3] = "{id}"
		}
		w.stage.before(request{req, req.Method + " " + strings.Join(path, "/")})
	}
	return w.base.RoundTrip(req)
}

// clock is the wall clock, which can be set forward.
type clock struct {
	mu      sync.Mutex
	forward time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.forward)
}

func (c *clock) set(forward time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forward = forward
}

type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// invoke runs the handler once.
func (s *stage) invoke(ctx context.Context, payload any) (jobs.Report, error) {
	s.t.Helper()
	data, ok := payload.(string)
	if !ok {
		raw, err := json.Marshal(payload)
		if err != nil {
			s.t.Fatal(err)
		}
		data = string(raw)
	}
	answer, failed := s.handler.Invoke(ctx, []byte(data))
	var report jobs.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		s.t.Fatalf("the answer %q is no report: %v (error: %v)", answer, err, failed)
	}
	return report, failed
}

// sync runs the handler once and must not fail.
func (s *stage) sync(payload any) jobs.Report {
	s.t.Helper()
	report, err := s.invoke(s.t.Context(), payload)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

// result is the report's result.
func (s *stage) result(report jobs.Report) customdata.Result {
	s.t.Helper()
	var r customdata.Result
	if err := json.Unmarshal(report.Result, &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// kept are all the rows that a run kept, in order.
func (s *stage) kept(report jobs.Report) []jobs.Rejection {
	s.t.Helper()
	if report.Rejected == nil {
		return nil
	}
	var rows []jobs.Rejection
	for part := range report.Rejected.Parts {
		name := fmt.Sprintf("%s/rejected/%s/%05d.ndjson", s.out, report.RunID, part+1)
		if part < len(report.Rejected.Kept) && report.Rejected.Kept[part] != name {
			s.t.Errorf("part %d is %s, want %s", part+1, report.Rejected.Kept[part], name)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var row jobs.Rejection
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				s.t.Fatal(err)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// rows are params of these rows.
func rows(lines ...string) map[string]any {
	list := make([]json.RawMessage, len(lines))
	for i, line := range lines {
		list[i] = json.RawMessage(line)
	}
	return map[string]any{"rows": list}
}

// with adds a param.
func with(params map[string]any, name string, value any) map[string]any {
	params[name] = value
	return params
}

// file writes a source.
func (s *stage) file(name, text string) string {
	s.t.Helper()
	name = filepath.Join(s.out, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// users adds users u000, u001, … with this custom data.
func (s *stage) users(n int, data object) {
	for i := range n {
		s.tenant.AddUser(logtotest.User{ID: id(i), PrimaryEmail: id(i) + "@example.com", CustomData: data})
	}
}

func id(i int) string { return fmt.Sprintf("u%03d", i) }

// number makes the JSON number that the tenant shows.
func number(i int) json.Number { return json.Number(fmt.Sprint(i)) }
