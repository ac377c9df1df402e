package m2m_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestVerifyReadsTheClaimsOfAGoodToken(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, nil)
	got, err := v.Verify(t.Context(), is.token(t, map[string]any{"organization_id": "org-7"}))
	if err != nil {
		t.Fatal(err)
	}
	now := is.clock.Now()
	want := &m2m.AccessToken{
		ID: "thkjsQgZkO4Ll4", Issuer: is.URL, Subject: "orders-app", ClientID: "orders-app",
		Audience: []string{shopAPI}, Scopes: []string{"read:orders", "read:products"}, OrganizationID: "org-7",
		IssuedAt: now, Expiry: now.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(m2m.AccessToken{})); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
}

func TestVerifyAccepts(t *testing.T) {
	is := newIssuer(t)
	other := func(typ string) func(*testing.T) string {
		return func(t *testing.T) string {
			return is.key.sign(t, map[string]any{"typ": typ, "kid": "key-1"}, is.claims(nil))
		}
	}
	now := is.clock.Now().Unix()
	changed := func(changes map[string]any) func(*testing.T) string {
		return func(t *testing.T) string { return is.token(t, changes) }
	}
	for name, token := range map[string]func(*testing.T) string{
		"typ in capitals":                       other("AT+JWT"),
		"typ with its media type's first part":  other("application/at+jwt"),
		"an audience among others":              changed(map[string]any{"aud": []string{"https://other.api", shopAPI}}),
		"no scope at all":                       changed(map[string]any{"scope": nil}),
		"expired within the leeway":             changed(map[string]any{"exp": now - 29}),
		"valid from a moment within the leeway": changed(map[string]any{"nbf": now + 29}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := is.verifier(t, nil).Verify(t.Context(), token(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every token here is really made: where its signature is not what the case is about, it is good.
func TestVerifyRefuses(t *testing.T) {
	is := newIssuer(t)
	stranger := newECKey(t, "key-1", jose.ES384, elliptic.P384())
	p256 := newECKey(t, "p256", jose.ES256, elliptic.P256())
	is.publish(is.key, p256)
	now := is.clock.Now().Unix()
	good := is.token(t, nil)
	goodParts := strings.Split(good, ".")

	var fetched atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		writeJSON(t, w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: stranger.private.Public(), KeyID: "key-1"}}})
	}))
	t.Cleanup(elsewhere.Close)
	strangerJWK := jose.JSONWebKey{Key: stranger.private.Public(), KeyID: "key-1", Algorithm: "ES384"}

	claim := func(name string, value any) string { return is.token(t, map[string]any{name: value}) }
	with := func(name string, value any) string {
		h := tokenHeader("key-1")
		h[name] = value
		return is.key.sign(t, h, is.claims(nil))
	}
	public, err := x509.MarshalPKIXPublicKey(is.key.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	der, err := is.key.private.Sign(rand.Reader, make([]byte, 48), crypto.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := signingKey{kid: "key-1", alg: jose.EdDSA, private: edKey}
	// A header that no library would write, over the good claims and signature.
	raw := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + goodParts[1] + "." + goodParts[2]
	}
	signature := func(b []byte) string {
		return goodParts[0] + "." + goodParts[1] + "." + base64.RawURLEncoding.EncodeToString(b)
	}
	deep := strings.Repeat(`{"a":`, 1900) + "1" + strings.Repeat("}", 1900)
	repeated := fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":%d,"exp":%d}`, is.URL, shopAPI, now-1, now+3600)

	tried := 0
	for _, tc := range []struct{ name, token, reason string }{
		{"nothing", "", "not a signed JWT"},
		{"no JWT", "opaque-token", "not a signed JWT"},
		{"two parts", goodParts[0] + "." + goodParts[1], "not a signed JWT"},
		{"four parts", good + ".e30", "not a signed JWT"},
		{"a line break inside", goodParts[0] + "." + goodParts[1] + "\n." + goodParts[2], "not a signed JWT"},
		{"an encrypted token's five parts", good + ".e30.e30", "not a signed JWT"},
		{"huge", good + strings.Repeat("A", 1<<20), "longer than 16384 bytes"},
		{"alg none", segment(map[string]string{"alg": "none", "typ": "at+jwt", "kid": "key-1"}) + "." + goodParts[1] + ".", "algorithm"},
		{"HS256 with the public key as secret", hs256(public, is.claims(nil)), "algorithm"},
		{"a curve that is not pinned", p256.sign(t, tokenHeader("p256"), is.claims(nil)), "algorithm"},
		{"the pinned alg with a key of another curve", is.key.sign(t, tokenHeader("p256"), is.claims(nil)), "does not have"},
		{"a stranger's key under our kid", stranger.sign(t, tokenHeader("key-1"), is.claims(nil)), "signature"},
		{"a changed claim", goodParts[0] + "." + segment(is.claims(map[string]any{"scope": "write:products"})) + "." + goodParts[2], "signature"},
		{"an unknown kid", is.key.sign(t, tokenHeader("key-9"), is.claims(nil)), "does not have"},
		{"no kid", is.key.sign(t, map[string]any{"typ": "at+jwt"}, is.claims(nil)), "no kid"},
		{"typ JWT", is.key.sign(t, map[string]any{"typ": "JWT", "kid": "key-1"}, is.claims(nil)), "typ"},
		{"no typ", is.key.sign(t, map[string]any{"kid": "key-1"}, is.claims(nil)), "typ"},
		{"an id token", is.key.sign(t, map[string]any{"typ": "JWT", "kid": "key-1"}, is.claims(map[string]any{"aud": "web-app", "nonce": "n"})), "typ"},
		{"crit", with("crit", []string{"exp"}), "crit"},
		{"crit of an extension the library knows", with("crit", []string{"b64"}), "crit"},
		{"jku", stranger.sign(t, map[string]any{"typ": "at+jwt", "kid": "key-1", "jku": elsewhere.URL}, is.claims(nil)), "jku"},
		{"x5u", stranger.sign(t, map[string]any{"typ": "at+jwt", "kid": "key-1", "x5u": elsewhere.URL}, is.claims(nil)), "x5u"},
		{"jwk", stranger.sign(t, map[string]any{"typ": "at+jwt", "kid": "key-1", "jwk": strangerJWK}, is.claims(nil)), "jwk"},
		{"another issuer", claim("iss", "https://evil.example/oidc"), "issuer is not"},
		{"an issuer with a slash too many", claim("iss", is.URL+"/"), "issuer is not"},
		{"another audience", claim("aud", "https://default.logto.app/api"), "not for " + shopAPI},
		{"an audience with a slash too many", claim("aud", shopAPI+"/"), "not for " + shopAPI},
		{"audiences without us", claim("aud", []string{"https://a.api", "https://b.api"}), "not for " + shopAPI},
		{"no audience", claim("aud", nil), "not for " + shopAPI},
		{"an audience that is no text", claim("aud", 7), "claims"},
		{"expired", claim("exp", now-30), "expired at 2026-03-01T11:59:30Z"},
		{"no exp", claim("exp", nil), "no exp"},
		{"an exp that is no number", claim("exp", "tomorrow"), "claims"},
		{"not yet valid", claim("nbf", now+31), "not valid before 2026-03-01T12:00:31Z"},
		{"alg none with the good signature", raw(`{"alg":"none","typ":"at+jwt","kid":"key-1"}`), "algorithm"},
		{"alg None in capitals", raw(`{"alg":"NONE","typ":"at+jwt","kid":"key-1"}`), "algorithm"},
		{"alg in small letters", raw(`{"alg":"es384","typ":"at+jwt","kid":"key-1"}`), "algorithm"},
		{"no alg", raw(`{"typ":"at+jwt","kid":"key-1"}`), "algorithm"},
		{"EdDSA", ed.sign(t, tokenHeader("key-1"), is.claims(nil)), "algorithm"},
		{"HS384 with the key as it is published", hsWith("HS384", sha512.New384, []byte(publishedKey(t, is)), is.claims(nil)), "algorithm"},
		{"the same header twice", raw(`{"alg":"none","alg":"ES384","typ":"at+jwt","kid":"key-1"}`), "not a signed JWT"},
		{"a header that is an array", raw(`["ES384"]`), "not a signed JWT"},
		{"a header without end", raw(`{"alg":"ES384"`), "not a signed JWT"},
		{"a kid that is a number", raw(`{"alg":"ES384","typ":"at+jwt","kid":7}`), "not a signed JWT"},
		{"a kid that is a path", is.key.sign(t, tokenHeader("../../key-1"), is.claims(nil)), "does not have"},
		{"a kid that is a query", is.key.sign(t, tokenHeader("key-1' OR '1'='1"), is.claims(nil)), "does not have"},
		{"a kid of all allowed length", is.key.sign(t, tokenHeader(strings.Repeat("k", 8<<10)), is.claims(nil)), "does not have"},
		{"x5c", stranger.sign(t, map[string]any{"typ": "at+jwt", "kid": "key-1", "x5c": []string{"MIIB"}}, is.claims(nil)), "not a signed JWT"},
		{"b64 alone", raw(`{"alg":"ES384","typ":"at+jwt","kid":"key-1","b64":false}`), "b64"},
		{"a signature of zeros", signature(make([]byte, 96)), "signature"},
		{"no signature", signature(nil), "signature"},
		{"half a signature", signature(make([]byte, 48)), "signature"},
		{"a signature in DER", signature(der), "signature"},
		{"a padded part", goodParts[0] + "=." + goodParts[1] + "." + goodParts[2], "not a signed JWT"},
		{"a token in JSON", `{"payload":"` + goodParts[1] + `","protected":"` + goodParts[0] + `","signature":"` + goodParts[2] + `"}`, "not a signed JWT"},
		{"Bearer in front", "Bearer " + good, "not a signed JWT"},
		{"objects in objects", is.key.signBytes(t, tokenHeader("key-1"), []byte(`{"iss":"`+is.URL+`","x":`+deep+`}`)), "not for"},
		{"an exp beyond all numbers", is.key.signBytes(t, tokenHeader("key-1"), fmt.Appendf(nil, `{"iss":%q,"aud":%q,"exp":1e999}`, is.URL, shopAPI)), "claims"},
		{"an exp before all time", claim("exp", -1), "expired"},
		{"an exp that is null", is.key.signBytes(t, tokenHeader("key-1"), fmt.Appendf(nil, `{"iss":%q,"aud":%q,"exp":null}`, is.URL, shopAPI)), "no exp"},
		{"an organization's", claim("aud", "urn:logto:organization:org-7"), "not for " + shopAPI},
		{"of two organizations", is.token(t, map[string]any{"aud": []string{shopAPI, "urn:logto:organization:a", "urn:logto:organization:b"}}), "more than one organization"},
		{"the same claim twice", is.key.signBytes(t, tokenHeader("key-1"), []byte(repeated)), "claims"},
		{"a payload that is no JSON", is.key.signBytes(t, tokenHeader("key-1"), []byte("hello")), "claims"},
		{"a payload that is null", is.key.signBytes(t, tokenHeader("key-1"), []byte("null")), "issuer is not"},
		{"scopes in an array", claim("scope", []string{"read:orders"}), "claims"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tried++
			got, err := is.verifier(t, nil).Verify(t.Context(), tc.token)
			if !errors.Is(err, m2m.ErrInvalidToken) || !strings.Contains(err.Error(), tc.reason) || got != nil {
				t.Errorf("Verify = %v, %v; want ErrInvalidToken because of %q", got, err, tc.reason)
			}
			if err != nil && strings.Contains(err.Error(), "eyJ") {
				t.Error("the error contains the token")
			}
		})
	}
	t.Logf("%d kinds of invalid tokens tried", tried)
	if n := fetched.Load(); n != 0 {
		t.Errorf("%d keys were fetched from where a token said", n)
	}
}

func hs256(secret []byte, claims map[string]any) string {
	return hsWith("HS256", sha256.New, secret, claims)
}

// publishedKey is the key as the issuer shows it.
func publishedKey(t *testing.T, is *issuer) string {
	t.Helper()
	data, err := json.Marshal(is.jwks().Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// hsWith signs by hand what no careful library would.
func hsWith(algorithm string, hash func() hash.Hash, secret []byte, claims map[string]any) string {
	head := segment(map[string]string{"alg": algorithm, "typ": "at+jwt", "kid": "key-1"}) + "." + segment(claims)
	mac := hmac.New(hash, secret)
	mac.Write([]byte(head))
	return head + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestVerifyTakesTheAlgorithmsItIsGiven(t *testing.T) {
	is := newIssuer(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := []signingKey{
		newECKey(t, "es256", jose.ES256, elliptic.P256()),
		newECKey(t, "es512", jose.ES512, elliptic.P521()),
		{kid: "ed", alg: jose.EdDSA, private: ed},
		{kid: "rs256", alg: jose.RS256, private: rs},
		{kid: "ps256", alg: jose.PS256, private: rs},
	}
	is.publish(keys...)
	var names []string
	for _, k := range keys {
		names = append(names, string(k.alg))
	}
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.Algorithms = names })
	for _, k := range keys {
		if _, err := v.Verify(t.Context(), k.sign(t, tokenHeader(k.kid), is.claims(nil))); err != nil {
			t.Errorf("%s: %v", k.alg, err)
		}
	}
	// The key says which of the accepted algorithms it is for.
	cross := signingKey{kid: "rs256", alg: jose.PS256, private: rs}
	if _, err := v.Verify(t.Context(), cross.sign(t, tokenHeader("rs256"), is.claims(nil))); !errors.Is(err, m2m.ErrInvalidToken) {
		t.Errorf("a PS256 signature of the RS256 key: %v", err)
	}
}

func TestNewVerifierNamesTheWrongField(t *testing.T) {
	good := m2m.VerifierConfig{Issuer: "https://tenant.logto.app/oidc", Audience: shopAPI}
	if _, err := m2m.NewVerifier(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*m2m.VerifierConfig){
		`Issuer "": is empty`: func(c *m2m.VerifierConfig) { c.Issuer = "" },
		`must be https`:       func(c *m2m.VerifierConfig) { c.Issuer = "http://tenant.logto.app/oidc" },
		`not an absolute`:     func(c *m2m.VerifierConfig) { c.Issuer = "tenant.logto.app/oidc" },
		`user information`:    func(c *m2m.VerifierConfig) { c.JWKSURL = "https://a:b@tenant.logto.app/oidc/jwks" },
		`Audience is empty`:   func(c *m2m.VerifierConfig) { c.Audience = "" },
		`"none" is not one`:   func(c *m2m.VerifierConfig) { c.Algorithms = []string{"none"} },
		`"HS256" is not one`:  func(c *m2m.VerifierConfig) { c.Algorithms = []string{"ES384", "HS256"} },
	} {
		c := good
		change(&c)
		if _, err := m2m.NewVerifier(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestALeewayBelowZeroIsNone(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.Leeway = -1 })
	now := is.clock.Now().Unix()
	for exp, ok := range map[int64]bool{now + 1: true, now: false} {
		_, err := v.Verify(t.Context(), is.token(t, map[string]any{"exp": exp}))
		if (err == nil) != ok {
			t.Errorf("a token with exp = now%+d: %v", exp-now, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	is := newIssuer(f)
	v := is.verifier(f, nil)
	good := is.token(f, nil)
	f.Add([]byte(good))
	f.Add([]byte("..."))
	f.Add([]byte(segment(map[string]any{"alg": "ES384", "typ": "at+jwt", "jwk": map[string]any{"kty": "EC"}}) + ".e30."))
	f.Fuzz(func(t *testing.T, token []byte) {
		_, err := v.Verify(t.Context(), string(token))
		if err == nil && !bytes.Equal(token, []byte(good)) {
			// ECDSA's last character has unused bits, so that other spellings of the same bytes are possible.
			if parts := strings.Split(string(token), "."); len(parts) != 3 || !strings.HasPrefix(good, parts[0]+"."+parts[1]+".") {
				t.Error("a token that the issuer did not sign was accepted")
			}
		}
	})
}
