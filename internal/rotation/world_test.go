package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is an hour, which is what tokens of the tenant live, and rotation.DefaultLongestWarm.
const quiet = 25 * time.Hour

// world is a tenant in a bubble where time is virtual, with an app that may do all, its credentials in a file, and
// functions that use them.
type world struct {
	*testing.T
	tenant *logtotest.Tenant
	base   *http.Transport
	app    logtotest.App
	path   string
	began  time.Time

	invocations int
}

func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.json")
	synctest.Test(t, func(t *testing.T) {
		listener := logtotest.NewPipeListener()
		tenant, err := logtotest.Start(logtotest.Config{Listener: listener})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, tenant: tenant, base: &http.Transport{DialContext: listener.DialContext}, path: path, began: time.Now()}
		w.app = tenant.AddApp("sync-custom-data")
		tenant.Grant(w.app.ID, logtotest.ManagementResource, logto.ManagementScope)
		tenant.AddUser(logtotest.User{Username: "ann"})
		w.writeFile(map[string]string{"endpoint": tenant.URL, "appId": w.app.ID, "appSecret": w.app.Secret, "note": "stays"})
		test(w)
		w.base.CloseIdleConnections()
		tenant.Close()
		synctest.Wait()
	})
}

// writeFile writes the credentials file as a person does, dated by the bubble's clock.
func (w *world) writeFile(fields map[string]string) {
	w.Helper()
	text, err := json.Marshal(fields)
	if err == nil {
		err = errors.Join(os.WriteFile(w.path, text, 0o600), os.Chtimes(w.path, time.Now(), time.Now()))
	}
	if err != nil {
		w.Fatal(err)
	}
}

// file reads the credentials file.
func (w *world) file() map[string]string {
	w.Helper()
	text, err := os.ReadFile(w.path)
	if err != nil {
		w.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(text, &fields); err != nil {
		w.Fatal(err)
	}
	return fields
}

// function is an execution environment: a Source that lives with it, and a client of the API that it calls.
type function struct {
	source *m2m.Source
	client *http.Client
}

func (w *world) function(over http.RoundTripper) *function {
	w.Helper()
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.FileCredentials(w.path), Resource: logtotest.ManagementResource, Scopes: []string{logto.ManagementScope},
		HTTPClient: &http.Client{Transport: over},
	})
	if err != nil {
		w.Fatal(err)
	}
	return &function{source, &http.Client{Transport: &m2m.Transport{Source: source, Base: over}}}
}

// use gets a token with credentials that somebody has copied.
func (w *world) use(fields map[string]string) {
	w.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		w.Fatal(err)
	}
	credentials, err := m2m.ParseCredentials(text)
	if err != nil {
		w.Fatal(err)
	}
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(credentials), Resource: logtotest.ManagementResource, HTTPClient: &http.Client{Transport: w.base},
	})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := source.Token(w.Context()); err != nil {
		w.Error(err)
	}
}

// invoke has a function read a user by its token. That must not fail, whatever else happens.
func (w *world) invoke(f *function) {
	w.Helper()
	w.invocations++
	api, err := logto.NewClient(logto.Config{Endpoint: w.tenant.URL, HTTPClient: f.client})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := api.UsersBy(context.Background(), logto.ByUsername, []string{"ann"}); err != nil {
		w.Errorf("invocation %d, %v after the beginning: %v", w.invocations, time.Since(w.began), err)
	}
	f.source.Wait(context.Background())
}

// rotation rotates the file's secret with the app's own access, as a new process does.
func (w *world) rotation(l *life) *rotation.Rotation {
	w.Helper()
	over := http.RoundTripper(w.base)
	place := rotation.File(w.path)
	if l != nil {
		over = &mortalTransport{l, over}
		place = &mortalPlace{l, place}
	}
	access := w.function(over)
	return rotation.New(rotation.Config{
		Place: place,
		Logto: func(context.Context, m2m.Credentials) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: w.tenant.URL, HTTPClient: access.client})
		},
		HTTPClient: &http.Client{Transport: over},
	})
}

func (w *world) rotate() string {
	w.Helper()
	done, err := w.rotation(nil).Rotate(w.Context(), "", false)
	if err != nil {
		w.Fatal(err)
	}
	return done.Version
}

func (w *world) clean() rotation.Cleaned {
	w.Helper()
	done, err := w.rotation(nil).Clean(w.Context(), false)
	if err != nil {
		w.Fatal(err)
	}
	return done
}

// secrets are the names of the app's secrets.
func (w *world) secrets() []string { return w.secretsOf(w.app.ID) }

func (w *world) secretsOf(appID string) []string {
	w.Helper()
	api, err := logto.NewClient(logto.Config{Endpoint: w.tenant.URL, HTTPClient: w.tenant.ManagementClient()})
	if err != nil {
		w.Fatal(err)
	}
	list, err := api.AppSecrets(w.Context(), appID)
	if err != nil {
		w.Fatal(err)
	}
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = one.Name
	}
	return names
}

// lastUse is when the audit log has the secret last; zero if it has not.
func (w *world) lastUse(name string) time.Time {
	w.Helper()
	resp, err := w.tenant.ManagementClient().Get(w.tenant.URL + "/api/logs?page_size=100&applicationId=" + w.app.ID)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	var log []struct {
		CreatedAt int64
		Payload   struct{ ApplicationSecret struct{ Name string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&log); err != nil {
		w.Fatal(err)
	}
	for _, e := range log {
		if e.Payload.ApplicationSecret.Name == name {
			return time.UnixMilli(e.CreatedAt)
		}
	}
	return time.Time{}
}

// errDied is what a process sees of the world after its end.
var errDied = errors.New("the process has died")

// life is that of a process: every read, write and request of it is a point at which it may die.
type life struct {
	points int
	dieAt  int  // at which point, from 1; 0: never
	after  bool // after the point took effect, and not before
	dead   bool
	// between is called at each point, before and after it.
	between func()
	log     []string
}

// live does what is to be done, unless the process dies before or is dead; if it dies after, nobody learns what came of it.
func (l *life) live(what string, do func() error) error {
	if l.dead {
		return errDied
	}
	l.points++
	l.log = append(l.log, what)
	if l.between != nil {
		l.between()
	}
	if l.points == l.dieAt && !l.after {
		l.dead = true
		return errDied
	}
	err := do()
	if l.between != nil {
		l.between()
	}
	if l.points == l.dieAt {
		l.dead = true
		return errDied
	}
	return err
}

// mortalPlace is a place as a process that may die has it.
type mortalPlace struct {
	life *life
	rotation.Place
}

func (m *mortalPlace) State(ctx context.Context) (s rotation.State, err error) {
	err = m.life.live("state", func() error { s, err = m.Place.State(ctx); return err })
	return s, err
}

func (m *mortalPlace) Read(ctx context.Context, version string) (text []byte, err error) {
	err = m.life.live("read", func() error { text, err = m.Place.Read(ctx, version); return err })
	return text, err
}

func (m *mortalPlace) Put(ctx context.Context, version string, text []byte) error {
	return m.life.live("put", func() error { return m.Place.Put(ctx, version, text) })
}

func (m *mortalPlace) Promote(ctx context.Context, version, from string) error {
	return m.life.live("promote", func() error { return m.Place.Promote(ctx, version, from) })
}

func (m *mortalPlace) Settle(ctx context.Context, version string) error {
	return m.life.live("settle", func() error { return m.Place.Settle(ctx, version) })
}

// mortalTransport is the network as that process has it.
type mortalTransport struct {
	life *life
	base http.RoundTripper
}

func (m *mortalTransport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	path := req.URL.Path
	if at := strings.Index(path, "/secrets"); at >= 0 {
		path = "…" + path[at:]
	}
	err = m.life.live(fmt.Sprintf("%s %s", req.Method, path), func() error {
		resp, err = m.base.RoundTrip(req)
		return err
	})
	if err != nil && resp != nil {
		resp.Body.Close()
		resp = nil
	}
	return resp, err
}
