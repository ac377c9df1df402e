package m2m_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shopping = "https://shopping.api"

// world is a tenant and an app of it in a bubble where time is virtual: net.Pipe stands for the network, since
// testing/synctest cannot see through real sockets.
type world struct {
	t      *testing.T
	tenant *logtotest.Tenant
	client *http.Client
	app    logtotest.App
	// leap is how far the wall clock is off the monotonic one.
	leap atomic.Int64
}

// inWorld runs test in a bubble with a tenant whose app "orders" may read orders and products.
func inWorld(t *testing.T, config logtotest.Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := logtotest.NewPipeListener()
		config.Listener = listener
		tenant, err := logtotest.Start(config)
		if err != nil {
			t.Fatal(err)
		}
		base := &http.Transport{DialContext: listener.DialContext}
		w := &world{t: t, tenant: tenant, client: &http.Client{Transport: base}}
		tenant.AddResource(shopping, "read:orders", "read:products", "write:products")
		w.app = tenant.AddApp("orders")
		tenant.Grant(w.app.ID, shopping, "read:orders", "read:products")
		test(w)
		base.CloseIdleConnections()
		tenant.Close()
		synctest.Wait()
	})
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.leap.Load())) }

func (w *world) credentials() m2m.Credentials {
	return m2m.Credentials{Endpoint: w.tenant.URL, AppID: w.app.ID, AppSecret: m2m.NewSecret(w.app.Secret)}
}

// config asks for read:orders with the app's credentials.
func (w *world) config() m2m.Config {
	return m2m.Config{
		Credentials: m2m.StaticCredentials(w.credentials()),
		Resource:    shopping,
		Scopes:      []string{"read:orders"},
		HTTPClient:  w.client,
		Now:         w.now,
	}
}

func (w *world) source(c m2m.Config) *m2m.Source {
	w.t.Helper()
	source, err := m2m.NewSource(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return source
}

// token gets a token and fails the test if there is none.
func (w *world) token(source *m2m.Source) string {
	w.t.Helper()
	token, err := source.Token(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return token.AccessToken
}

func (w *world) wantRequests(route string, want int) {
	w.t.Helper()
	if got := w.tenant.Requests(route); got != want {
		w.t.Errorf("%s: %d requests, want %d", route, got, want)
	}
}

// provider counts the reads of credentials that a test may change.
type provider struct {
	credentials m2m.Credentials
	err         error
	reads       int
}

func (p *provider) Credentials(context.Context) (m2m.Credentials, error) {
	p.reads++
	return p.credentials, p.err
}

const tokenRoute = "POST /oidc/token"

var _ net.Listener = (*logtotest.PipeListener)(nil)
