package m2m_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func staticSource(t *testing.T, c m2m.Credentials, base *http.Transport) *m2m.Source {
	t.Helper()
	source, err := m2m.NewSource(m2m.Config{Credentials: m2m.StaticCredentials(c), Resource: shopping, HTTPClient: &http.Client{Transport: base}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.CloseIdleConnections)
	return source
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`)
		}))
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		base := m2m.NewBase()
		base.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		source := staticSource(t, m2m.Credentials{Endpoint: server.URL, AppID: "a", AppSecret: m2m.NewSecret(wrongSecret)}, base)
		_, err := source.Token(t.Context())
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestTheSecretFollowsNoRedirect(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		elsewhere, base := w.serve(func(int, http.ResponseWriter, *http.Request) {})
		for _, status := range []int{301, 302, 303, 307, 308} {
			w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: status, Header: map[string]string{"Location": elsewhere.url}})
			config := w.config()
			config.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if "http://"+r.URL.Host == elsewhere.url {
					return base.RoundTrip(r)
				}
				return w.client.Transport.RoundTrip(r)
			})}
			_, err := w.source(config).Token(w.t.Context())
			if refused := (*m2m.TokenError)(nil); !errors.As(err, &refused) || refused.Status != status {
				t.Errorf("%d: %v, want a *TokenError", status, err)
			}
		}
		if n := len(elsewhere.bearer); n != 0 {
			t.Errorf("%d requests went where the redirects pointed", n)
		}
	})
}

func TestAnAnswerWithoutEndIsNotReadToTheEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"access_token":"`)
		for range 1 << 20 {
			if _, err := fmt.Fprint(w, strings.Repeat("A", 1<<10)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	source := staticSource(t, m2m.Credentials{Endpoint: server.URL, AppID: "a", AppSecret: m2m.NewSecret(wrongSecret)}, m2m.NewBase())
	_, err := source.Token(t.Context())
	if err == nil || !strings.Contains(err.Error(), "more than 262144 bytes") {
		t.Errorf("got %v, want that it is too long", err)
	}
}

// proxyProbe names the tenant whose token the process of the next test gets, with a proxy in its environment.
const proxyProbe = "M2M_TEST_PROXY_PROBE"

// A process reads its proxies once, so it takes another one to see what it does with them.
func TestAProxyOfTheEnvironmentSeesNoSecret(t *testing.T) {
	if endpoint := os.Getenv(proxyProbe); endpoint != "" {
		probeProxy(t, endpoint, os.Getenv(proxyProbe+"_APP"), os.Getenv(proxyProbe+"_SECRET"))
		return
	}
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %s auth=%t", r.Method, r.Host, r.Header.Get("Authorization") != ""))
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	tenant := logtotest.New(t)
	tenant.AddResource(shopping, "read:orders")
	app := tenant.AddApp("orders")
	cmd := exec.Command(os.Args[0], "-test.run=^TestAProxyOfTheEnvironmentSeesNoSecret$")
	cmd.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "ALL_PROXY="+proxy.URL, "NO_PROXY=",
		"http_proxy="+proxy.URL, "https_proxy="+proxy.URL, "no_proxy=", "REQUEST_METHOD=",
		proxyProbe+"="+tenant.URL, proxyProbe+"_APP="+app.ID, proxyProbe+"_SECRET="+app.Secret)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if tenant.Requests(tokenRoute) != 1 {
		t.Errorf("the tenant got %d requests, want the one that went straight to it", tenant.Requests(tokenRoute))
	}
	for _, one := range seen {
		if one != "CONNECT tenant.example:443 auth=false" {
			t.Errorf("the proxy saw %s", one)
		}
	}
	if len(seen) == 0 {
		t.Error("the proxy was not asked for https: the environment did not reach the process")
	}
}

func probeProxy(t *testing.T, endpoint, app, secret string) {
	c := m2m.Credentials{Endpoint: endpoint, AppID: app, AppSecret: m2m.NewSecret(secret)}
	if _, err := staticSource(t, c, m2m.NewBase()).Token(t.Context()); err != nil {
		t.Error(err)
	}
	c.Endpoint = "https://tenant.example"
	if _, err := staticSource(t, c, m2m.NewBase()).Token(t.Context()); err == nil {
		t.Error("a token came through a proxy that lets nothing pass")
	}
}
