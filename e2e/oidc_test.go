//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const (
	resource       = "https://shopping.api"
	opaqueResource = "https://opaque.api"
)

// Clients of the authorization server. The others need every part of their basic credentials form-urlencoded (RFC 6749
// section 2.3.1): colon, percent, plus, blank and others, and at last every character that a secret may have (appendix A.2).
var oidcClients = []emulator.OIDCClient{
	{ID: "plain", Secret: appSecret},
	{ID: "app:1 with+special%signs", Secret: `logtotestSecret %41+:&=/?#@!~"'-0123456789`},
	{ID: "100%:zz", Secret: "logtotestSecret" + everyCharacter()},
}

// everyCharacter is printable ASCII.
func everyCharacter() string {
	var all []byte
	for c := byte(' '); c <= '~'; c++ {
		all = append(all, c)
	}
	return string(all)
}

func startOIDC(t *testing.T) *emulator.OIDC {
	t.Helper()
	server, err := emulator.StartOIDC(map[string]emulator.OIDCResource{
		resource:       {Scopes: []string{"read:orders", "write:products"}},
		opaqueResource: {Scopes: []string{"read:orders"}, Opaque: true},
	}, oidcClients...)
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
	t.Parallel()
	server := startOIDC(t)
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: server.Issuer, Audience: resource, HTTPClient: httpClient(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range oidcClients {
		t.Run(client.ID, func(t *testing.T) {
			source := oidcSource(t, server, m2m.Credentials{AppID: client.ID, AppSecret: m2m.NewSecret(client.Secret)},
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
	t.Parallel()
	server := startOIDC(t)
	good := m2m.Credentials{AppID: oidcClients[0].ID, AppSecret: m2m.NewSecret(oidcClients[0].Secret)}
	for name, test := range map[string]struct {
		credentials m2m.Credentials
		config      m2m.Config
		is          error
		names       string
	}{
		"wrong secret": {m2m.Credentials{AppID: "plain", AppSecret: m2m.NewSecret("logtotestSecretWRONG0123456789ab")}, m2m.Config{}, m2m.ErrWrongSecret, "plain"},
		"unknown app":  {m2m.Credentials{AppID: "nobody", AppSecret: m2m.NewSecret(appSecret)}, m2m.Config{}, m2m.ErrWrongSecret, "nobody"},
		// No app of the server's can have such an id: it says so, and not that the secret is wrong.
		"letters beyond ASCII": {m2m.Credentials{AppID: "größe", AppSecret: m2m.NewSecret(appSecret)}, m2m.Config{}, nil, "größe"},
		"unknown resource":     {good, m2m.Config{Resource: "https://other.api"}, m2m.ErrUnknownResource, "https://other.api"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oidcSource(t, server, test.credentials, test.config).Token(t.Context())
			if tokenError := (*m2m.TokenError)(nil); !errors.As(err, &tokenError) || test.is != nil && !errors.Is(err, test.is) {
				t.Fatalf("got %v, want a *TokenError that is %v", err, test.is)
			}
			if !strings.Contains(err.Error(), test.names) {
				t.Errorf("the error does not name %s: %v", test.names, err)
			}
		})
	}
}

func TestScopeThatAnAuthorizationServerDropsIsNamed(t *testing.T) {
	t.Parallel()
	server := startOIDC(t)
	source := oidcSource(t, server, m2m.Credentials{AppID: "plain", AppSecret: m2m.NewSecret(appSecret)},
		m2m.Config{Scopes: []string{"read:orders", "delete:orders"}})
	_, err := source.Token(t.Context())
	missing := (*m2m.ScopeError)(nil)
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want a *ScopeError", err)
	}
	if !slices.Equal(missing.Missing, []string{"delete:orders"}) || !slices.Equal(missing.Granted, []string{"read:orders"}) {
		t.Errorf("missing %q, granted %q", missing.Missing, missing.Granted)
	}
}

func TestOpaqueTokenIsKeptByTheSourceAndRefusedByTheVerifier(t *testing.T) {
	t.Parallel()
	server := startOIDC(t)
	source := oidcSource(t, server, m2m.Credentials{AppID: "plain", AppSecret: m2m.NewSecret(appSecret)},
		m2m.Config{Resource: opaqueResource, Scopes: []string{"read:orders"}})
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(token.AccessToken, ".") {
		t.Fatal("the token is a JWT")
	}
	if again, err := source.Token(t.Context()); err != nil || again != token {
		t.Errorf("the second Token gave another (%v)", err)
	}
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: server.Issuer, Audience: opaqueResource, HTTPClient: httpClient(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(t.Context(), token.AccessToken); !errors.Is(err, m2m.ErrInvalidToken) {
		t.Errorf("got %v, want ErrInvalidToken", err)
	}
}

func TestVerifierGoesOnWhileTheKeysAreRotated(t *testing.T) {
	t.Parallel()
	server := startOIDC(t)
	newToken := func() string {
		t.Helper()
		source := oidcSource(t, server, m2m.Credentials{AppID: "plain", AppSecret: m2m.NewSecret(appSecret)}, m2m.Config{Scopes: []string{"read:orders"}})
		token, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return token.AccessToken
	}
	rotate := func(keepOld bool) {
		t.Helper()
		if err := server.RotateKeys(keepOld); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	newVerifier := func() *m2m.Verifier {
		t.Helper()
		verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
			Issuer: server.Issuer, Audience: resource, HTTPClient: httpClient(t), Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		return verifier
	}
	lasting := newVerifier()
	accepts := func(verifier *m2m.Verifier, what, token string) {
		t.Helper()
		if _, err := verifier.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	first := newToken()
	accepts(lasting, "the first key's token", first)
	rotate(true)
	now = now.Add(2 * time.Minute) // an unknown kid is looked for once a minute at most
	second := newToken()
	accepts(lasting, "the new key's token", second)
	accepts(lasting, "the old key's, which stays in the key set", first)
	accepts(newVerifier(), "the old key's, for who sees the key set only now", first)

	rotate(false)
	now = now.Add(2 * time.Minute)
	accepts(lasting, "the third key's token", newToken())
	for name, old := range map[string]string{"first": first, "second": second} {
		if _, err := lasting.Verify(t.Context(), old); !errors.Is(err, m2m.ErrInvalidToken) {
			t.Errorf("the %s key was taken out of the key set, and its token is %v", name, err)
		}
	}
}

func TestTokenOfAnotherServerIsRefusedByTheVerifier(t *testing.T) {
	t.Parallel()
	server, other := startOIDC(t), startOIDC(t)
	token, err := oidcSource(t, other, m2m.Credentials{AppID: "plain", AppSecret: m2m.NewSecret(appSecret)}, m2m.Config{Scopes: []string{"read:orders"}}).Token(t.Context())
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
