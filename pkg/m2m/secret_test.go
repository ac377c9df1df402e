package m2m_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// forms are the ways in which a text may stand in an output.
func forms(text string) []string {
	return []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("% x", text), fmt.Sprint([]byte(text)), text[15:]}
}

func TestASecretIsNotPrintedByAnything(t *testing.T) {
	const text = "logtotestSecret0123456789abcdefgh"
	secret := m2m.NewSecret(text)
	c := m2m.Credentials{Endpoint: "https://tenant.logto.app", AppID: "app", AppSecret: secret}
	type holder struct {
		Out m2m.Secret
		in  m2m.Secret
		all map[string]m2m.Credentials
	}
	type named m2m.Secret // a conversion loses the methods
	values := []any{secret, &secret, []m2m.Secret{secret}, map[string]m2m.Secret{"k": secret}, named(secret),
		c, &c, []*m2m.Credentials{&c}, m2m.StaticCredentials(c), m2m.Config{Credentials: m2m.StaticCredentials(c)},
		holder{secret, secret, map[string]m2m.Credentials{"k": c}}, &holder{secret, secret, nil}}
	tried := 0
	for name, printed := range printers() {
		for _, value := range values {
			tried++
			said := printed(value)
			for _, form := range forms(text) {
				if strings.Contains(said, form) {
					t.Errorf("%s of a %T prints the secret", name, value)
					break
				}
			}
		}
	}
	t.Logf("%d combinations of printer and value", tried)
	if got, err := json.Marshal(map[string]any{"s": secret, "c": c}); err != nil ||
		string(got) != `{"c":{"appId":"app","endpoint":"https://tenant.logto.app"},"s":"[secret]"}` {
		t.Errorf("JSON: %s, %v", got, err)
	}
	if secret.Reveal() != text {
		t.Error("Reveal does not")
	}
	if other := m2m.NewSecret(text + "x"); secret.Equal(other) || !secret.Equal(m2m.NewSecret(text)) || !(m2m.Secret{}).IsZero() || !m2m.NewSecret("").Equal(m2m.Secret{}) {
		t.Error("Equal or IsZero is wrong")
	}
}

func TestNothingThatIsMadeOfASecretPrintsIt(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		source := w.source(config)
		token := w.token(source)
		synctest.Wait() // what is printed is read without its locks
		values := []any{config, &config, source, *w.client, &m2m.Transport{Source: source}, source.Stats(), source.TokenSource(t.Context())}
		for _, value := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				if said := fmt.Sprintf(verb, value); containsSecret(said, w.app.Secret) || containsSecret(said, token) {
					t.Errorf("%s of a %T prints the secret or the token", verb, value)
				}
			}
			if said := walk(value); containsSecret(said, w.app.Secret) {
				t.Errorf("the secret is within reach of a walk from a %T", value)
			}
		}
	})
}

// Every error that this package makes, with a server that says the secret and the token to our face.
func TestNoErrorHoldsTheSecretOrAToken(t *testing.T) {
	echo := func(w *world) string {
		return `{"code":"x","message":"` + w.app.Secret + `","error":"` + w.app.Secret + `","error_description":"secret ` + w.app.Secret + `"}`
	}
	fault := func(f func(w *world) logtotest.Fault) func(w *world) error {
		return func(w *world) error {
			w.tenant.Inject(f(w))
			_, err := w.source(w.config()).Token(w.t.Context())
			return err
		}
	}
	with := func(change func(w *world, c *m2m.Config)) func(w *world) error {
		return func(w *world) error {
			config := w.config()
			change(w, &config)
			_, err := w.source(config).Token(w.t.Context())
			return err
		}
	}
	changed := func(change func(c *m2m.Credentials)) func(w *world) error {
		return with(func(w *world, c *m2m.Config) {
			credentials := w.credentials()
			change(&credentials)
			c.Credentials = m2m.StaticCredentials(credentials)
		})
	}
	cases := map[string]func(w *world) error{
		"a scope not granted":      with(func(_ *world, c *m2m.Config) { c.Scopes = []string{"write:products"} }),
		"an unknown resource":      with(func(_ *world, c *m2m.Config) { c.Resource = "https://none.api" }),
		"an organization":          with(func(w *world, c *m2m.Config) { c.OrganizationID = w.tenant.AddOrganization() }),
		"an app id unknown":        changed(func(c *m2m.Credentials) { c.AppID = "nobody" }),
		"an endpoint in the clear": changed(func(c *m2m.Credentials) { c.Endpoint = "http://tenant.example" }),
		"the secret for the id": changed(func(c *m2m.Credentials) {
			c.AppSecret = m2m.NewSecret(c.AppSecret.Reveal() + "x")
		}),
		"no server": with(func(w *world, c *m2m.Config) {
			c.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })}
		}),
		"400 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 400, Body: echo(w)} }),
		"401 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 401, Body: echo(w)} }),
		"403 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 403, Body: echo(w)} }),
		"500 that echoes": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 500, Times: -1, Body: echo(w)}
		}),
		"200 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 200, Body: echo(w)} }),
		"200 that is no JSON": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 200, Body: w.app.Secret}
		}),
		"a token type of its own": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 200, Body: `{"access_token":"` + w.app.Secret + `","token_type":"` + w.app.Secret + `"}`}
		}),
		"a redirect with it": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 307, Header: map[string]string{"Location": "https://elsewhere.example/?" + w.app.Secret}}
		}),
		"a request id with it": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 400, Header: map[string]string{"Logto-Core-Request-Id": w.app.Secret}}
		}),
		"a Retry-After of its own": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 429, Times: -1, Header: map[string]string{"Retry-After": w.app.Secret}}
		}),
		"a caller that gives up": func(w *world) error {
			w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: 500, Times: -1, Body: echo(w)})
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
			defer cancel()
			source := w.source(w.config())
			_, err := source.Token(ctx)
			source.Wait(w.t.Context())
			return err
		},
		"an API that refuses": func(w *world) error {
			api, base := w.serve(func(_ int, rw http.ResponseWriter, r *http.Request) {
				http.Error(rw, r.Header.Get("Authorization")+w.app.Secret, http.StatusUnauthorized)
			})
			source := w.source(w.config())
			client := &http.Client{Transport: &m2m.Transport{Source: source, Origin: api.url, Base: base}}
			_, err := client.Do(w.request(http.MethodGet, api.url, ""))
			return err
		},
		"an API that is gone": func(w *world) error {
			client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: "https://shop.example",
				Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })}}
			_, err := client.Do(w.request(http.MethodGet, "https://shop.example", ""))
			return err
		},
		"credentials that are text": func(w *world) error {
			_, err := m2m.ParseCredentials([]byte(w.app.Secret))
			return err
		},
		"credentials that are wrong": func(w *world) error {
			_, err := m2m.ParseCredentials([]byte(`{"endpoint":"https://u:` + w.app.Secret + `@h","appId":"a","appSecret":"` + w.app.Secret + `"}`))
			return err
		},
	}
	for name, cause := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				err := cause(w)
				if err == nil {
					t.Fatal("no error")
				}
				for by, printed := range printers() {
					if said := printed(err); containsSecret(said, w.app.Secret) || strings.Contains(said, "eyJ") {
						t.Errorf("%s of a %T holds the secret or a token", by, err)
					}
				}
			})
		})
	}
}
