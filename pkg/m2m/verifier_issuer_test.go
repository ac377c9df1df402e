package m2m_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const shopAPI = "https://shopping.api"

// clock is a wall clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// signingKey is a key of an issuer.
type signingKey struct {
	kid     string
	alg     jose.SignatureAlgorithm
	private crypto.Signer
}

func newECKey(t testing.TB, kid string, alg jose.SignatureAlgorithm, curve elliptic.Curve) signingKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{kid: kid, alg: alg, private: private}
}

// sign makes a token with any header and claims, which logtotest's own tokens can't have.
func (k signingKey) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return k.signBytes(t, header, payload)
}

func (k signingKey) signBytes(t testing.TB, header map[string]any, payload []byte) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for name, value := range header {
		options.ExtraHeaders[jose.HeaderKey(name)] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: k.private}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// issuer is an authorization server as far as a Verifier sees it, with keys and answers that a test chooses.
type issuer struct {
	URL         string // the issuer's iss
	client      *http.Client
	key         signingKey // the one that token signs with
	clock       *clock
	discoveries atomic.Int64
	fetches     atomic.Int64

	mu        sync.Mutex
	published []signingKey
	keys      http.HandlerFunc // instead of the keys; nil: the keys
	discovery http.HandlerFunc // instead of the discovery document
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	is := &issuer{clock: newClock(), key: newECKey(t, "key-1", jose.ES384, elliptic.P384())}
	is.published = []signingKey{is.key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oidc/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		is.discoveries.Add(1)
		if h := is.instead(&is.discovery); h != nil {
			h(w, r)
			return
		}
		writeJSON(t, w, map[string]string{"issuer": is.URL, "jwks_uri": is.URL + "/jwks"})
	})
	mux.HandleFunc("GET /oidc/jwks", func(w http.ResponseWriter, r *http.Request) {
		is.fetches.Add(1)
		if h := is.instead(&is.keys); h != nil {
			h(w, r)
			return
		}
		writeJSON(t, w, is.jwks())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	is.URL, is.client = server.URL+"/oidc", server.Client()
	return is
}

func writeJSON(t testing.TB, w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Errorf("answering: %v", err)
	}
}

func (is *issuer) instead(h *http.HandlerFunc) http.HandlerFunc {
	is.mu.Lock()
	defer is.mu.Unlock()
	return *h
}

func (is *issuer) jwks() jose.JSONWebKeySet {
	is.mu.Lock()
	defer is.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range is.published {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: k.private.Public(), KeyID: k.kid, Algorithm: string(k.alg), Use: "sig",
		})
	}
	return set
}

// publish replaces the keys that the issuer shows.
func (is *issuer) publish(keys ...signingKey) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.published = keys
}

// answerKeys answers requests for the keys with h; nil: with the keys.
func (is *issuer) answerKeys(h http.HandlerFunc) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.keys = h
}

func (is *issuer) answerDiscovery(h http.HandlerFunc) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.discovery = h
}

func answerStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// claims are those of a good token (recorded: the claims of Logto's access tokens), with changes. A nil value removes
// a claim.
func (is *issuer) claims(changes map[string]any) map[string]any {
	now := is.clock.Now().Unix()
	c := map[string]any{
		"jti": "thkjsQgZkO4Ll4", "sub": "orders-app", "client_id": "orders-app", "iss": is.URL, "aud": shopAPI,
		"scope": "read:orders read:products", "iat": now, "exp": now + 3600,
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func tokenHeader(kid string) map[string]any { return map[string]any{"typ": "at+jwt", "kid": kid} }

// token is a good token but for the changes of its claims.
func (is *issuer) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	return is.key.sign(t, tokenHeader(is.key.kid), is.claims(changes))
}

// verifier is one for the issuer and the shop's API, with changes.
func (is *issuer) verifier(t testing.TB, change func(*m2m.VerifierConfig)) *m2m.Verifier {
	t.Helper()
	c := m2m.VerifierConfig{
		Issuer: is.URL, Audience: shopAPI, HTTPClient: is.client, Now: is.clock.Now, Log: quiet(),
	}
	if change != nil {
		change(&c)
	}
	v, err := m2m.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func segment(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
