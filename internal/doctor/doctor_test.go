package doctor_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestEachCheckSaysWhatItFoundWhenAllIsWell(t *testing.T) {
	for name, test := range map[string]struct {
		ownAPI bool
		want   map[string]string
	}{
		"Management API": {false, map[string]string{
			"configuration": "all there", "secret": "app ", "endpoint": "without TLS on this machine", "issuer": "/oidc", "clock": "apart",
			"token": "signed by the issuer", "scopes": "all of https://default.logto.app/api", "management API": "200 to GET /api/users",
			"role": "", "secret age": "0 days ago", "rate": "no 429 now",
		}},
		"own API": {true, map[string]string{
			"configuration": "all there", "secret": "app ", "endpoint": "without TLS on this machine", "issuer": "/oidc", "clock": "apart",
			"token": "signed by the issuer", "scopes": "read:orders of https://shopping.api", "secret age": "0 days ago", "rate": "no 429 now",
			"least privilege": "not granted: read:products write:products", "own API": "200 to GET /orders with the token, 401 without and with a wrong signature",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, logtotest.Config{}, test.ownAPI)
			found := w.examine()
			for check, says := range test.want {
				expect(t, found, check, doctor.OK, says)
			}
			if test.ownAPI {
				expect(t, found, "role", doctor.NotApplicable, "may not read its roles")
			}
			// The second is what more could be had.
			if n := w.tenant.Requests("POST /oidc/token"); n != 1 && !test.ownAPI || n != 2 && test.ownAPI {
				t.Errorf("it cost %d tokens", n)
			}
		})
	}
}

// elsewhere is the tenant at another address, over TLS or not, as a custom domain or a proxy shows it.
func elsewhere(w *world, start func(http.Handler) *httptest.Server) *httptest.Server {
	at, err := url.Parse(w.tenant.URL)
	if err != nil {
		w.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.Transport = w.f.HTTPClient.Transport.(*http.Transport).Clone()
	server := start(proxy)
	w.Cleanup(func() {
		server.Close()
		proxy.Transport.(*http.Transport).CloseIdleConnections()
	})
	return server
}

func TestEachLineFailsForItsCause(t *testing.T) {
	const refused = "not tried, because "
	tests := map[string]struct {
		ownAPI bool
		ill    func(w *world)
		check  string
		result doctor.Result
		says   []string          // what was found, and the mend
		then   map[string]string // checks that are not tried, and why
	}{
		"a variable is missing": {
			ill:   func(w *world) { w.f.Problems = []string{"OUTPUT is not set: where files are written"} },
			check: "configuration", says: []string{"OUTPUT is not set", "--env-file"},
			then: map[string]string{"secret": refused + "configuration failed", "endpoint": refused + "secret was not"},
		},
		"no secret": {
			ill: func(w *world) { w.must(os.Remove(w.file)) }, check: "secret", says: []string{"app.json does not exist", "chmod 600", "Console > Applications"},
			then: map[string]string{"token": refused + "endpoint was not"},
		},
		"a secret that others can read": {
			ill: func(w *world) { w.must(os.Chmod(w.file, 0o644)) }, check: "secret", says: []string{"mode 0644"},
		},
		"a secret without a field": {
			ill: func(w *world) { w.writeText(`{"endpoint": "` + w.tenant.URL + `", "appId": "a"}`) }, check: "secret", says: []string{`"appSecret" is missing`},
		},
		"the template's placeholder": {
			ill: func(w *world) { w.write("https://fill-in-the-secret.invalid", "fill-in", "fill-in") }, check: "secret",
			says: []string{"still what the template made"},
		},
		"nobody is there": {
			ill: func(w *world) { w.tenant.Close() }, check: "endpoint", says: []string{"connection refused", "curl -v http://127.0.0.1"},
			then: map[string]string{"issuer": refused + "endpoint failed", "clock": refused + "endpoint failed", "token": refused + "endpoint failed",
				"rate": refused + "endpoint failed", "scopes": refused + "token was not"},
		},
		"no such host": {
			ill: func(w *world) { w.write("https://no-such-tenant.invalid", w.app.ID, w.app.Secret) }, check: "endpoint", says: []string{"dig no-such-tenant.invalid"},
		},
		"a certificate that nobody knows": {
			ill: func(w *world) { w.write(elsewhere(w, httptest.NewTLSServer).URL, w.app.ID, w.app.Secret) }, check: "endpoint",
			says: []string{"certificate", "openssl s_client -connect 127.0.0.1:"},
		},
		"a certificate for another name": {
			ill: func(w *world) {
				server := elsewhere(w, httptest.NewTLSServer)
				w.trust(server)
				w.write(strings.Replace(server.URL, "127.0.0.1", "localhost", 1), w.app.ID, w.app.Secret)
			}, check: "endpoint", says: []string{"localhost", "a name that the certificate has"},
		},
		"no TLS at that port": {
			ill: func(w *world) {
				w.write(strings.Replace(w.tenant.URL, "http://", "https://", 1), w.app.ID, w.app.Secret)
			}, check: "endpoint", says: []string{"speaks no TLS"},
		},
		"not Logto": {
			ill: func(w *world) {
				server := httptest.NewServer(http.NotFoundHandler())
				w.Cleanup(server.Close)
				w.write(server.URL, w.app.ID, w.app.Secret)
			}, check: "endpoint", says: []string{"404 Not Found and no discovery document", "without the console's port"},
		},
		"a certificate that ends soon": {
			ill: func(w *world) {
				server := elsewhere(w, httptest.NewTLSServer)
				w.trust(server)
				w.write(server.URL, w.app.ID, w.app.Secret)
				ends := server.Certificate().NotAfter
				w.f.Now = func() time.Time { return ends.Add(-13 * 24 * time.Hour) }
			}, check: "endpoint", result: doctor.Warn, says: []string{"TLS 1.3", "its certificate ends on", "renew"},
		},
		"a custom domain": {
			ill: func(w *world) {
				w.write(strings.Replace(w.tenant.URL, "127.0.0.1", "localhost", 1), w.app.ID, w.app.Secret)
			}, check: "issuer", says: []string{"http://127.0.0.1", "http://localhost", "https://TENANT-ID.logto.app"},
		},
		"a clock a minute behind": {
			ill: func(w *world) { w.f.Now = func() time.Time { return time.Now().Add(-time.Minute) } }, check: "clock", result: doctor.Warn,
			says: []string{"1m0s behind Logto's", "timedatectl"},
		},
		"a clock an hour ahead": {
			ill: func(w *world) { w.f.Now = func() time.Time { return time.Now().Add(time.Hour) } }, check: "clock",
			says: []string{"1h0m0s ahead of Logto's", "AWS refuses requests", "NTP"},
		},
		"a wrong secret": {
			ill: func(w *world) { w.write(w.tenant.URL, w.app.ID, "wrong") }, check: "token",
			says: []string{"401 invalid_client", "App secrets: copy one that is there"},
			then: map[string]string{"scopes": refused + "token failed", "management API": refused + "scopes was not", "role": refused + "management API was not"},
		},
		"a secret that has expired": {
			ill: func(w *world) {
				secret := w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "old", ExpiresAt: time.Now().Add(-time.Hour)})
				w.write(w.tenant.URL, w.app.ID, secret.Value)
			}, check: "token", says: []string{"has expired", "App secrets: make one"},
		},
		"an app of another tenant": {
			ill: func(w *world) { w.write(w.tenant.URL, "another", w.app.Secret) }, check: "token",
			says: []string{"400 invalid_client", "compare the app's id", "another"},
		},
		"an unknown resource": {
			ownAPI: true, ill: func(w *world) { w.f.Resource = "https://no-such.api" }, check: "token",
			says: []string{"no such API resource", "API resources", "SHOP_RESOURCE"},
		},
		"the quota is used up": {
			ill: func(w *world) {
				w.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", Times: -1, Status: 429, Body: `{"code":"auth.exceed_token_limit"}`})
			}, check: "token", says: []string{"quota is used up", "Subscription"},
		},
		"Logto is out of order": {
			ill:   func(w *world) { w.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", Times: -1, Status: 503}) },
			check: "token", says: []string{"503", "status.logto.io"},
		},
		"keys that are not the signer's": {
			ill: func(w *world) {
				w.tenant.Inject(logtotest.Fault{Route: "GET /oidc/jwks", Times: -1, Status: 200, Body: `{"keys":[]}`})
			}, check: "token", says: []string{"an API would refuse", "/oidc/jwks"},
		},
		"no role": {
			ill: func(w *world) { w.tenant.Revoke(w.app.ID, logtotest.ManagementResource) }, check: "scopes",
			says: []string{"missing: all; granted: nothing", "Console > Roles", "add all of https://default.logto.app/api"},
			then: map[string]string{"management API": refused + "scopes failed", "role": refused + "management API was not"},
		},
		"one scope of two": {
			ownAPI: true, ill: func(w *world) { w.f.Scopes = []string{shop.ScopeReadOrders, shop.ScopeReadProducts} }, check: "scopes",
			says: []string{"missing: read:products; granted: read:orders", "add read:products of https://shopping.api"},
			then: map[string]string{"own API": refused + "scopes failed"},
		},
		"the Management API takes another issuer": {
			ill: func(w *world) {
				w.tenant.Inject(logtotest.Fault{Route: "GET /api/users", Times: -1, Status: 401})
			}, check: "management API", says: []string{"401", "https://TENANT-ID.logto.app", "LOGTO_RESOURCE"},
			then: map[string]string{"role": refused + "management API failed"},
		},
		"the Management API is out of order": {
			ill:   func(w *world) { w.tenant.Inject(logtotest.Fault{Route: "GET /api/users", Times: -1, Status: 500}) },
			check: "management API", says: []string{"500"},
		},
		"the role was taken away since": {
			ill: func(w *world) {
				w.tenant.Inject(logtotest.Fault{Route: "GET /api/applications/{id}/roles", Status: 200, Body: "[]"})
			}, check: "role", says: []string{"none any more", "> Roles: assign"},
		},
		"the roles cannot be read": {
			ill: func(w *world) {
				w.tenant.Inject(logtotest.Fault{Route: "GET /api/applications/{id}/roles", Status: 403})
			},
			check: "role", says: []string{"403 Forbidden"},
		},
		"the tenant is busy": {
			ill:   func(w *world) { w.tenant.Inject(logtotest.Fault{Route: "GET /api/users", Times: -1, Status: 429}) },
			check: "rate", says: []string{"429 from the Management API", "Audit logs"},
		},
		"the token endpoint is busy": {
			ill:   func(w *world) { w.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", Times: -1, Status: 429}) },
			check: "rate", says: []string{"429 from the token endpoint"},
		},
		"nobody is there at the shop": {
			ownAPI: true, ill: func(w *world) { w.f.API.URL = "http://127.0.0.1:1" }, check: "own API", says: []string{"no answer", "SHOP_URL"},
		},
		"a shop without TLS": {
			ownAPI: true, ill: func(w *world) { w.f.API.URL = "http://192.0.2.1" }, check: "own API", says: []string{"without TLS: nothing was sent", "https"},
		},
		"a shop that verifies nothing": {
			ownAPI: true, ill: func(w *world) { w.shop = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}) }, check: "own API",
			says: []string{"200 OK to GET /orders with no token: everybody may read that", "m2m.NewVerifier"},
		},
		"a shop that only looks for a token": {
			ownAPI: true, ill: func(w *world) {
				w.shop = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") == "" {
						rw.WriteHeader(http.StatusUnauthorized)
					}
				})
			}, check: "own API", says: []string{"with a token of a wrong signature: everybody may read that"},
		},
		"a shop that trusts another issuer": {
			ownAPI: true, ill: func(w *world) { w.shop = w.shopOf("https://another.example.com/oidc", shop.Resource) }, check: "own API",
			says: []string{"401 Unauthorized to GET /orders with the token", "verify with the issuer http://127.0.0.1"},
		},
		"a shop that wants more": {
			ownAPI: true, ill: func(w *world) { w.f.API.Path = "/products" }, check: "own API", says: []string{"403 Forbidden", "read:orders"},
		},
		"no shop at that path": {
			ownAPI: true, ill: func(w *world) { w.f.API.Path = "/no-such" }, check: "own API", says: []string{"404 Not Found", "want 401", "correct SHOP_URL"},
		},
		"a role that grants more": {
			ownAPI: true, ill: func(w *world) { w.tenant.Grant(w.app.ID, shop.Resource, shop.ScopeWriteProducts) }, check: "least privilege", result: doctor.Warn,
			says: []string{"granted, and not asked for: write:products;", "remove write:products of https://shopping.api"},
		},
		"a role that grants all": {
			ownAPI: true, ill: func(w *world) {
				w.tenant.Grant(w.app.ID, shop.Resource, shop.ScopeReadProducts, shop.ScopeWriteProducts)
			},
			check: "least privilege", result: doctor.Warn, says: []string{"remove read:products write:products"},
		},
		"an old secret": {
			ill: func(w *world) {
				old := time.Now().Add(-91 * 24 * time.Hour)
				w.must(os.Chtimes(w.file, old, old))
			}, check: "secret age", result: doctor.Warn, says: []string{"91 days ago", "App secrets: make a new one"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, logtotest.Config{}, test.ownAPI)
			test.ill(w)
			found := w.examine()
			if test.result == "" {
				test.result = doctor.Fail
			}
			expect(t, found, test.check, test.result, test.says...)
			for check, why := range test.then {
				expect(t, found, check, doctor.NotTried, why)
			}
		})
	}
}

func (w *world) must(err error) {
	if err != nil {
		w.Fatal(err)
	}
}

// trust makes the function know the server's certificate.
func (w *world) trust(server *httptest.Server) {
	transport := w.f.HTTPClient.Transport.(*http.Transport)
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func TestAFunctionThatIsNotSetUpIsNotIll(t *testing.T) {
	w := newWorld(t, logtotest.Config{}, false)
	w.f.Optional = "the repair"
	w.write("https://fill-in-the-secret.invalid", "fill-in", "fill-in")
	found := w.examine()
	expect(t, found, "secret", doctor.NotApplicable, "the repair is not set up")
	expect(t, found, "token", doctor.NotApplicable)
	w.f.Credentials = nil
	expect(t, w.examine(), "secret", doctor.NotApplicable, "no app of its own")
}

func TestOfLogtoCloudItIsSaidWhatItsLimitIs(t *testing.T) {
	w := newWorld(t, logtotest.Config{}, false)
	w.write("https://tenant-id.logto.app", w.app.ID, w.app.Secret)
	// The tenant answers under that name, as if over TLS.
	w.f.HTTPClient.Transport.(*http.Transport).DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(w.tenant.URL, "http://"))
	}
	found := w.examine()
	expect(t, found, "rate", doctor.OK, "200 requests in 10 seconds")
	expect(t, found, "issuer", doctor.Fail, "the endpoint https://tenant-id.logto.app")
	// This tenant knows its Management API by another indicator than Logto Cloud would.
	expect(t, found, "token", doctor.Fail, "no such API resource", "https://TENANT-ID.logto.app and no custom domain")
}

func TestNothingIsChangedAtTheTenant(t *testing.T) {
	w := newWorld(t, logtotest.Config{}, false)
	w.examine()
	for _, route := range w.tenant.Routes() {
		if n := w.tenant.Requests(route); n > 0 && !strings.HasPrefix(route, "GET ") && route != "POST /oidc/token" {
			t.Errorf("%d times %s", n, route)
		}
	}
}

func TestAPlaceThatFailsDoesNotKeepTheOthersFromBeingTried(t *testing.T) {
	w := newWorld(t, logtotest.Config{}, false)
	for _, name := range []string{"store", "output"} {
		w.f.Places = append(w.f.Places, doctor.Place{Name: name, What: "it can be written to", Try: tried(errors.New("no " + name))})
	}
	found := w.examine()
	expect(t, found, "store", doctor.Fail, "no store", "see to it")
	expect(t, found, "output", doctor.Fail, "no output")
	expect(t, found, "management API", doctor.OK)
}

func TestAnErrorIsOneLineOfReadableLength(t *testing.T) {
	lines := doctor.Examine(t.Context(), []doctor.Check{{Name: "a", What: "b", Do: tried(errors.New(strings.Repeat("long\n", 1000)))}})
	want := strings.Repeat("long ", 120)
	if diff := cmp.Diff(want+"…", lines[0].Found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoNameFromOutsideSteersTheTerminal(t *testing.T) {
	lines := doctor.Examine(t.Context(), []doctor.Check{{Name: "role", Do: func(context.Context) doctor.Finding {
		return doctor.Found("%s", "good\x1b[2K\x07\u202eafter")
	}}})
	if got, want := lines[0].Found, "good\ufffd[2K\ufffd\ufffdafter"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForgedTokensAreNoTokens(t *testing.T) {
	w := newWorld(t, logtotest.Config{}, true)
	var seen []string
	shop := w.shop
	w.shop = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = append(seen, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		shop.ServeHTTP(rw, r)
	})
	expect(t, w.examine(), "own API", doctor.OK)
	if len(seen) != 3 || seen[0] != "" || seen[1] == seen[2] {
		t.Fatalf("%d requests", len(seen))
	}
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: w.tenant.Issuer(), Audience: w.f.Resource, HTTPClient: w.f.HTTPClient})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(t.Context(), seen[1]); !errors.Is(err, m2m.ErrInvalidToken) {
		t.Errorf("the forged one: %v", err)
	}
}
