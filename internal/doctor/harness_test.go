package doctor_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a tenant, a shop that takes its tokens, and a function's app with its secret in a file.
type world struct {
	*testing.T
	tenant *logtotest.Tenant
	app    logtotest.App
	shop   http.Handler // what SHOP_URL leads to
	file   string
	f      doctor.Function
}

// newWorld is one in which all is well, for sync-custom-data, or for daily-orders with ownAPI.
func newWorld(t *testing.T, config logtotest.Config, ownAPI bool) *world {
	t.Helper()
	w := &world{T: t, tenant: logtotest.NewWith(t, config), file: filepath.Join(t.TempDir(), "app.json")}
	w.tenant.AddResource(shop.Resource, shop.ScopeReadOrders, shop.ScopeReadProducts, shop.ScopeWriteProducts)
	w.app = w.tenant.AddApp("job")
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	w.f = doctor.Function{
		Name: "job", Credentials: m2m.FileCredentials(w.file), Secret: doctor.Secret{File: w.file},
		ResourceOf: logto.ManagementResource, ResourceVariable: "LOGTO_RESOURCE", Access: doctor.Access{Scopes: []string{logto.ManagementScope}},
		HTTPClient: client,
	}
	w.write(w.tenant.URL, w.app.ID, w.app.Secret)
	if !ownAPI {
		w.tenant.Grant(w.app.ID, logtotest.ManagementResource, logto.ManagementScope)
		return w
	}
	w.tenant.Grant(w.app.ID, shop.Resource, shop.ScopeReadOrders)
	w.f.Resource, w.f.ResourceOf, w.f.ResourceVariable = shop.Resource, nil, "SHOP_RESOURCE"
	w.f.Access = doctor.Access{Scopes: []string{shop.ScopeReadOrders}, Needs: shop.Scopes()}
	w.shop = w.shopOf(w.tenant.Issuer(), shop.Resource)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.shop.ServeHTTP(rw, r) }))
	t.Cleanup(server.Close)
	w.f.API = &doctor.API{URL: server.URL, Variable: "SHOP_URL", Path: "/orders?placedOn=2026-11-24"}
	return w
}

// shopOf is a shop that takes tokens of that issuer and for that audience.
func (w *world) shopOf(issuer, audience string) http.Handler {
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: issuer, Audience: audience, HTTPClient: w.f.HTTPClient, JWKSURL: w.tenant.Issuer() + "/jwks"})
	if err != nil {
		w.Fatal(err)
	}
	return shop.NewHandler(verifier, nil)
}

// write writes the secret.
func (w *world) write(endpoint, id, secret string) {
	w.writeText(`{"endpoint": "` + endpoint + `", "appId": "` + id + `", "appSecret": "` + secret + `"}`)
}

func (w *world) writeText(text string) {
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// examine returns the findings by their checks, after a look for secrets in them.
func (w *world) examine() map[string]doctor.Finding {
	w.Helper()
	report := w.f.Examine(w.Context(), "this test")
	found := map[string]doctor.Finding{}
	for _, line := range report.Checks {
		found[line.Check] = line.Finding
		text := line.Found + line.Mend
		if strings.Contains(text, "logtotestSecret") || strings.Contains(text, "eyJ") {
			w.Errorf("%s prints a secret or a token", line.Check)
		}
		if bad := line.Result == doctor.Fail || line.Result == doctor.Warn; bad != (line.Mend != "") || line.Found == "" || line.Checked == "" {
			w.Errorf("%s: %+v", line.Check, line)
		}
		if line.Result == doctor.Fail && report.Well {
			w.Errorf("%s failed, and all is said to be well", line.Check)
		}
	}
	return found
}

// expect fails the test unless a check came to that, and says all of these.
func expect(t *testing.T, found map[string]doctor.Finding, check string, result doctor.Result, says ...string) {
	t.Helper()
	f, there := found[check]
	if !there || f.Result != result {
		t.Errorf("%s is %q, want %q: %s", check, f.Result, result, f.Found)
	}
	for _, part := range says {
		if !strings.Contains(f.Found+"\n"+f.Mend, part) {
			t.Errorf("%s does not say %q: %s; mend: %s", check, part, f.Found, f.Mend)
		}
	}
}
