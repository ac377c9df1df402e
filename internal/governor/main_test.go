package governor_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) {
	if os.Getenv(sharerFile) != "" {
		if err := sharer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// world is a tenant with one user, in virtual time.
type world struct {
	t       *testing.T
	tenant  *logtotest.Tenant
	network *http.Transport
	app     logtotest.App
}

const user = "u00000000001"

// inWorld runs the test in a bubble with a tenant.
func inWorld(t *testing.T, config logtotest.Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := logtotest.NewPipeListener()
		config.Listener = listener
		tenant, err := logtotest.Start(config)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, tenant: tenant, network: &http.Transport{DialContext: listener.DialContext, MaxIdleConnsPerHost: 64}}
		w.app = tenant.AddApp("sync")
		tenant.Grant(w.app.ID, logtotest.ManagementResource, "all")
		tenant.AddUser(logtotest.User{ID: user, CustomData: map[string]any{"plan": "free"}})
		test(w)
		w.network.CloseIdleConnections()
		tenant.Close()
		synctest.Wait()
	})
}

func budget(t testing.TB, text string) governor.Budget {
	t.Helper()
	b, err := governor.ParseBudget(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// client is a job's way to the tenant behind a Governor.
type client struct {
	t *testing.T
	*http.Client
	governor  *governor.Governor
	transport *m2m.Transport
	source    *m2m.Source
	url       string
}

func (w *world) client(budgetText string) *client {
	w.t.Helper()
	g := governor.New(governor.Config{Base: w.network, Budget: budget(w.t, budgetText)})
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: w.tenant.URL, AppID: w.app.ID, AppSecret: m2m.NewSecret(w.app.Secret)}),
		ResourceOf:  logto.ManagementResource, Scopes: []string{logto.ManagementScope}, HTTPClient: &http.Client{Transport: g},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &m2m.Transport{Source: source, Base: g}
	return &client{w.t, &http.Client{Transport: transport}, g, transport, source, w.tenant.URL}
}

// patch writes the user's custom data.
func (c *client) patch() (status int, err error) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPatch, c.url+"/api/users/"+user+"/custom-data",
		strings.NewReader(`{"customData":{"plan":"pro"}}`))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header["Idempotency-Key"] = nil // may be repeated
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, err
}

// work has workers write without a pause until the time is over, and tells how many writes there were.
func (c *client) work(workers int, d time.Duration) (writes int) {
	ends := time.Now().Add(d)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for time.Now().Before(ends) {
				if status, err := c.patch(); err != nil || status != http.StatusOK && status != http.StatusTooManyRequests {
					c.t.Errorf("writing: %d, %v", status, err)
					return
				}
				mu.Lock()
				writes++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return writes
}
