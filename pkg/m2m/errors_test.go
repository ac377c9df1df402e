package m2m_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// wrongSecret is of the form of a secret and belongs to no app.
const wrongSecret = "logtotestSecretWRONG0123456789ab"

func containsSecret(s, secret string) bool {
	return secret != "" && strings.Contains(s, secret)
}

func TestEachRefusalHasItsKindAndItsMend(t *testing.T) {
	tests := map[string]struct {
		change func(w *world, c *m2m.Config)
		want   error
		says   []string
	}{
		"wrong secret": {
			func(w *world, c *m2m.Config) {
				wrong := w.credentials()
				wrong.AppSecret = m2m.NewSecret(wrongSecret)
				c.Credentials = m2m.StaticCredentials(wrong)
			}, m2m.ErrWrongSecret, []string{"401 invalid_client", "App secrets"},
		},
		"expired secret": {
			func(w *world, c *m2m.Config) {
				expired := w.credentials()
				expired.AppSecret = m2m.NewSecret(w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "old", ExpiresAt: w.now().Add(-time.Hour)}).Value)
				c.Credentials = m2m.StaticCredentials(expired)
			}, m2m.ErrSecretExpired, []string{"400 invalid_request", "make a new secret"},
		},
		"unknown app": {
			func(w *world, c *m2m.Config) {
				unknown := w.credentials()
				unknown.AppID = "doesnotexist"
				c.Credentials = m2m.StaticCredentials(unknown)
			}, m2m.ErrUnknownApp, []string{"doesnotexist", "check the app id"},
		},
		"unknown resource": {
			func(w *world, c *m2m.Config) { c.Resource = shopping + "/" },
			m2m.ErrUnknownResource, []string{shopping + "/", "API resources"},
		},
		"not in the organization": {
			func(w *world, c *m2m.Config) {
				c.Resource, c.OrganizationID = "", w.tenant.AddOrganization()
				c.Scopes = nil
			}, m2m.ErrNotInOrganization, []string{"Organizations"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				config := w.config()
				test.change(w, &config)
				_, err := w.source(config).Token(w.t.Context())
				refused := (*m2m.TokenError)(nil)
				if !errors.Is(err, test.want) || !errors.As(err, &refused) {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				for _, part := range append(test.says, w.tenant.URL+"/oidc/token") {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not say %q", err, part)
					}
				}
				if containsSecret(err.Error(), w.app.Secret) {
					t.Error("the error has the secret in it")
				}
			})
		})
	}
}

func TestAScopeThatWasNotGrantedIsNamed(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		config.Scopes = []string{"read:orders", "write:products"}
		_, err := w.source(config).Token(w.t.Context())
		got := (*m2m.ScopeError)(nil)
		if !errors.As(err, &got) {
			t.Fatalf("got %v, want a *ScopeError", err)
		}
		want := &m2m.ScopeError{AppID: w.app.ID, Resource: shopping, Asked: config.Scopes,
			Granted: []string{"read:orders"}, Missing: []string{"write:products"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, part := range []string{w.app.ID, shopping, "write:products", "Roles"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	})
}

func TestAServerThatEchoesTheSecretDoesNotGetItIntoTheError(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		basic := base64.StdEncoding.EncodeToString([]byte(w.app.ID + ":" + w.app.Secret))
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: http.StatusBadRequest,
			Body: `{"error":"invalid_request","error_description":"bad secret ` + w.app.Secret + ` given, in Basic ` + basic + `"}`})
		_, err := w.source(w.config()).Token(w.t.Context())
		if err == nil || containsSecret(err.Error(), w.app.Secret) || containsSecret(err.Error(), basic) ||
			!strings.Contains(err.Error(), "bad secret *** given, in Basic ***") {
			t.Error("the error is missing or has the secret in it")
		}
	})
}

func TestSpecialCharactersOfASecretArriveWhole(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		special := w.credentials()
		special.AppSecret = m2m.NewSecret("logtotestSecret a+b%20c:d/ä?&=")
		w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "special", Value: special.AppSecret.Reveal()})
		config := w.config()
		config.Credentials = m2m.StaticCredentials(special)
		w.token(w.source(config))
	})
}

func TestCredentialsFiles(t *testing.T) {
	const good = `{"endpoint":"https://tenant.logto.app/","appId":"app","appSecret":"logtotestSecret0123456789abcdefg"}`
	tests := map[string]struct {
		content string
		mode    os.FileMode
		says    string // empty: no error
	}{
		"good":                  {good, 0o600, ""},
		"read-only":             {good, 0o400, ""},
		"others can read":       {good, 0o644, "chmod 600"},
		"group can read":        {good, 0o640, "chmod 600"},
		"not JSON":              {"logtotestSecret0123456789abcdefg", 0o600, "not a JSON object"},
		"endpoint missing":      {`{"appId":"a","appSecret":"logtotestSecret0123456789abcdefg"}`, 0o600, `"endpoint" is missing`},
		"app id missing":        {`{"endpoint":"https://t.logto.app","appSecret":"logtotestSecret0123456789abcdefg"}`, 0o600, `"appId" is missing`},
		"secret missing":        {`{"endpoint":"https://t.logto.app","appId":"a"}`, 0o600, `"appSecret" is missing`},
		"secret is a number":    {`{"endpoint":"https://t.logto.app","appId":"a","appSecret":1}`, 0o600, `"appSecret" is not a string`},
		"endpoint in the clear": {`{"endpoint":"http://t.logto.app","appId":"a","appSecret":"x"}`, 0o600, "only https"},
		"endpoint with a path":  {`{"endpoint":"https://t.logto.app/oidc","appId":"a","appSecret":"x"}`, 0o600, "has a path"},
		"endpoint not one":      {`{"endpoint":"tenant","appId":"a","appSecret":"x"}`, 0o600, "not an address"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.json")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			c, err := m2m.FileCredentials(path).Credentials(t.Context())
			if test.says == "" {
				if err != nil || c.Endpoint != "https://tenant.logto.app" || c.AppID != "app" {
					t.Errorf("got %v, %v", c, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want the path and %q", err, test.says)
			}
			if err != nil && containsSecret(err.Error(), "logtotestSecret") {
				t.Error("the error has the secret in it")
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := m2m.FileCredentials(missing).Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), missing+" does not exist") {
		t.Errorf("got %v, want the path and that it does not exist", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m2m.FileCredentials(pipe).Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v, want a refusal of a pipe", err)
	}
}

func TestNewSourceNamesWhatIsMissing(t *testing.T) {
	some := m2m.StaticCredentials(m2m.Credentials{})
	for _, test := range []struct {
		config m2m.Config
		says   string
	}{
		{m2m.Config{}, "Credentials"},
		{m2m.Config{Credentials: some}, "Resource"},
		{m2m.Config{Credentials: some, Resource: "x", TokenURL: "http://example.com/token"}, "only https"},
		{m2m.Config{Credentials: some, Resource: "x", TokenURL: "token"}, "TokenURL"},
	} {
		if _, err := m2m.NewSource(test.config); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("got %v, want %q", err, test.says)
		}
	}
}
