package logto_test

import (
	"net/http"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client of the tenant that bears a token of its own.
func newClient(t *testing.T, tenant *logtotest.Tenant) *logto.Client {
	t.Helper()
	return newClientWith(t, tenant.URL, tenant.ManagementClient())
}

func newClientWith(t *testing.T, endpoint string, c *http.Client) *logto.Client {
	t.Helper()
	client, err := logto.NewClient(logto.Config{Endpoint: endpoint, HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// recorder keeps the requests that pass.
type recorder struct {
	base http.RoundTripper

	mu   sync.Mutex
	sent []*http.Request
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.sent = append(r.sent, req)
	r.mu.Unlock()
	return r.base.RoundTrip(req)
}
