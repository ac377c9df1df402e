package simulate_test

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// The routes of the tenant that a sync uses.
const (
	search = "GET /api/users"
	merge  = "PATCH /api/users/{id}/custom-data"
	token  = "POST /oidc/token"
)

// simulate runs one sync, with all its continuations, in a bubble of virtual time.
func simulate(t *testing.T, c scenario) (f figures) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.ndjson")
	c.writeRows(t, source)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, c, dir)
		f = w.sync(source)
		w.check()
		w.network.CloseIdleConnections()
		w.tenant.Close()
		synctest.Wait()
	})
	return f
}

// world is a tenant with its users, and the function that syncs them.
type world struct {
	t       *testing.T
	c       scenario
	dir     string
	tenant  *logtotest.Tenant
	network *http.Transport
	// governor is in front of the tenant.
	governor *governor.Governor
}

func newWorld(t *testing.T, c scenario, dir string) *world {
	t.Helper()
	listener := logtotest.NewPipeListener()
	tenant, err := logtotest.Start(logtotest.Config{Listener: listener, CloudLimit: c.cloud, Work: logtotest.RecordedWork})
	if err != nil {
		t.Fatal(err)
	}
	network := m2m.NewBase()
	network.DialContext = listener.DialContext
	network.MaxIdleConnsPerHost = governor.MaxConcurrency
	for i := range c.users {
		tenant.AddUser(logtotest.User{ID: id(i), PrimaryEmail: email(i), CustomData: c.before(i)})
	}
	for _, f := range c.faults() {
		tenant.Inject(f)
	}
	budget, err := governor.ParseBudget(c.budget())
	if err != nil {
		t.Fatal(err)
	}
	g := governor.New(governor.Config{Base: network, Budget: budget, Random: seeded()})
	return &world{t: t, c: c, dir: dir, tenant: tenant, network: network, governor: g}
}

// handler is the function's, made as internal/function makes it, but with a store in memory.
func (w *world) handler(runs *jobs.Runs) lambda.Handler {
	app := w.tenant.AddApp(customdata.Name)
	w.tenant.Grant(app.ID, logtotest.ManagementResource, logto.ManagementScope)
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: w.tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		ResourceOf:  logto.ManagementResource,
		Scopes:      []string{logto.ManagementScope},
		HTTPClient:  &http.Client{Transport: w.governor},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &m2m.Transport{Source: source, Base: w.governor, Random: mean}
	client, err := logto.NewClient(logto.Config{Endpoint: w.tenant.URL, HTTPClient: &http.Client{Transport: apart{transport}}})
	if err != nil {
		w.t.Fatal(err)
	}
	storage := files.New(nil)
	job := customdata.Job(customdata.Config{
		Client: func(context.Context) (*logto.Client, error) { return client, nil },
		Files:  storage,
		Output: w.dir,
	})
	config := jobs.Config{
		Log:    io.Discard,
		Settle: source.Wait,
		Keep: func(ctx context.Context, name string, data []byte) (string, error) {
			return storage.Put(ctx, w.dir, name, data)
		},
	}
	runs.Collect(w.t.Context(), &config)
	return jobs.Handler(governor.Govern(w.governor, job), config)
}

// apart sends a read a little later than the writes of the one before, as they would be: its rows come from a file first. In virtual
// time that takes none, and which goes first, so that the other waits for it in the server, would depend on the disk.
type apart struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a apart) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		<-time.After(10 * time.Microsecond)
	}
	return a.RoundTripper.RoundTrip(req)
}

// mean is the jitter of pauses before requests that are repeated: few as they are in a small run, random ones would not come to it.
func mean() float64 { return 0.5 }

// seeded returns random numbers that are the same in every run.
func seeded() func() float64 {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Float64()
	}
}

// sync invokes the function until the run is done, as the state machine does.
func (w *world) sync(source string) (f figures) {
	var runs jobs.Runs
	handler := w.handler(&runs)
	event, err := json.Marshal(customdata.Params{Source: source})
	if err != nil {
		w.t.Fatal(err)
	}
	began := time.Now()
	for more := true; more; event, more = runs.Next() {
		ctx, cancel := context.WithTimeout(w.t.Context(), w.c.timeout)
		_, err := handler.Invoke(ctx, event)
		cancel()
		if err != nil {
			w.t.Fatal(err)
		}
		f.invocations++
	}
	f.took = time.Since(began)
	f.reads, f.writes, f.tokens = w.tenant.Requests(search), w.tenant.Requests(merge), w.tenant.Requests(token)
	w.report(runs.Reports()[0], f)
	return f
}

// report sees that the run's last report, and what the tenant was asked, are what they should be.
func (w *world) report(last jobs.Report, f figures) {
	want := map[string]int64{"rows": int64(w.c.users), "changed": int64(w.c.changes()), "unchanged": int64(w.c.users - w.c.changes())}
	for name, n := range last.Counts {
		if n != want[name] {
			w.t.Errorf("the last report counts %d %s, want %d", n, name, want[name])
		}
	}
	if last.Outcome != jobs.OutcomeDone || last.Attempt != f.invocations {
		w.t.Errorf("the last report: %s in attempt %d of %d", last.Outcome, last.Attempt, f.invocations)
	}
	if all := w.tenant.Requests(""); all != f.requests() {
		w.t.Errorf("%d requests came, of which %d are known", all, f.requests())
	}
	refusals := 0
	for _, fault := range w.c.faults() {
		if fault.Status == http.StatusTooManyRequests {
			refusals++
		}
	}
	if got := w.governor.Stats().Throttled; got != int64(refusals) {
		w.t.Errorf("%d answers 429, of which %d are faults", got, refusals)
	}
}

// check sees that every user has what the rows say.
func (w *world) check() {
	for i := range w.c.users {
		if has, want := w.tenant.CustomData(id(i)), w.c.after(i); !logto.EqualData(has, want) {
			w.t.Fatalf("user %d has %v, want %v", i, has, want)
		}
	}
}
