//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const resource = "https://shopping.api"

// Clients of the authorization server. The second needs every part of its basic credentials form-urlencoded (RFC 6749
// section 2.3.1): colon, percent, plus, blank and others.
var oidcClients = []emulator.OIDCClient{
	{ID: "plain", Secret: appSecret},
	{ID: "app:1 with+special%signs", Secret: `logtotestSecret %41+:&=/?#@!~"'-0123456789`},
}

func startOIDC(t *testing.T) *emulator.OIDC {
	t.Helper()
	server, err := emulator.StartOIDC(resource, []string{"read:orders", "write:products"}, oidcClients...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func oidcSource(t *testing.T, server *emulator.OIDC, c m2m.Credentials, config m2m.Config) *m2m.Source {
	t.Helper()
	c.Endpoint = server.Issuer
	config.Credentials, config.TokenURL = m2m.StaticCredentials(c), server.Issuer+"/token"
	if config.Resource == "" {
		config.Resource = resource
	}
	config.HTTPClient = httpClient(t)
	source, err := m2m.NewSource(config)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func httpClient(t *testing.T) *http.Client {
	base := m2m.NewBase()
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: base}
}

func TestTokenOfAnAuthorizationServerThatIsNotLogtoIsVerified(t *testing.T) {
	server := startOIDC(t)
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: server.Issuer, Audience: resource, HTTPClient: httpClient(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range oidcClients {
		t.Run(client.ID, func(t *testing.T) {
			source := oidcSource(t, server, m2m.Credentials{AppID: client.ID, AppSecret: client.Secret},
				m2m.Config{Scopes: []string{"read:orders", "write:products"}})
			token, err := source.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			verified, err := verifier.Verify(t.Context(), token.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if verified.ClientID != client.ID || verified.Issuer != server.Issuer || !slices.Equal(verified.Audience, []string{resource}) ||
				!slices.Equal(verified.Scopes, []string{"read:orders", "write:products"}) {
				t.Errorf("verified %+v", verified)
			}
			if again, err := source.Token(t.Context()); err != nil || again != token {
				t.Errorf("the second Token gave another (%v)", err)
			}
			if stats := source.Stats(); stats.TokenRequests != 1 {
				t.Errorf("%d token requests, want 1", stats.TokenRequests)
			}
		})
	}
}

func TestTokenErrorsOfAnAuthorizationServerThatIsNotLogtoAreTyped(t *testing.T) {
	server := startOIDC(t)
	good := m2m.Credentials{AppID: oidcClients[0].ID, AppSecret: oidcClients[0].Secret}
	for name, test := range map[string]struct {
		credentials m2m.Credentials
		config      m2m.Config
		is          error
		names       string
	}{
		"wrong secret":     {m2m.Credentials{AppID: "plain", AppSecret: "logtotestSecretWRONG0123456789ab"}, m2m.Config{}, m2m.ErrWrongSecret, "plain"},
		"unknown app":      {m2m.Credentials{AppID: "nobody", AppSecret: appSecret}, m2m.Config{}, m2m.ErrWrongSecret, "nobody"},
		"unknown resource": {good, m2m.Config{Resource: "https://other.api"}, m2m.ErrUnknownResource, "https://other.api"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oidcSource(t, server, test.credentials, test.config).Token(t.Context())
			if tokenError := (*m2m.TokenError)(nil); !errors.As(err, &tokenError) || !errors.Is(err, test.is) {
				t.Fatalf("got %v, want a *TokenError that is %v", err, test.is)
			}
			if !strings.Contains(err.Error(), test.names) {
				t.Errorf("the error does not name %s: %v", test.names, err)
			}
		})
	}
}

func TestTokenOfAnotherServerIsRefusedByTheVerifier(t *testing.T) {
	server, other := startOIDC(t), startOIDC(t)
	token, err := oidcSource(t, other, m2m.Credentials{AppID: "plain", AppSecret: appSecret}, m2m.Config{Scopes: []string{"read:orders"}}).Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: server.Issuer, Audience: resource, HTTPClient: httpClient(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(t.Context(), token.AccessToken); err == nil {
		t.Error("a token that another server signed was accepted")
	}
}
