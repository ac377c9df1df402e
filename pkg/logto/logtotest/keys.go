package logtotest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// signingKey is a P-384 key: Logto signs with ES384 by default.
type signingKey struct {
	private *ecdsa.PrivateKey
	jwk     jose.JSONWebKey // the public half
	x, y    string          // its coordinates as a key set shows them
}

func newSigningKey() (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return signingKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private.Public(), Use: "sig", Algorithm: "ES384"}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return signingKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	// SEC 1 section 2.3.3: 4, then the two coordinates, 48 bytes each.
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return signingKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return signingKey{private: private, jwk: jwk, x: b64(point[1:49]), y: b64(point[49:])}, nil
}

// sign makes a compact JWS (RFC 7515 section 7.1) by ES384, whatever the header says.
func (k signingKey) sign(header, claims any) (string, error) {
	var parts [2]string
	for i, v := range []any{header, claims} {
		b, err := appendJSON(nil, v)
		if err != nil {
			return "", fmt.Errorf("signing a token: %w", err)
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(b)
	}
	input := parts[0] + "." + parts[1]
	sum := sha512.Sum384([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	// RFC 7518 section 3.4: the two numbers, 48 bytes each.
	var sig [96]byte
	r.FillBytes(sig[:48])
	s.FillBytes(sig[48:])
	return input + "." + base64.RawURLEncoding.EncodeToString(sig[:]), nil
}

// Issuer is the iss of the tenant's tokens: {endpoint}/oidc.
func (t *Tenant) Issuer() string { return t.URL + "/oidc" }

// RotateKeys makes a new signing key. With keepOld the one before stays in the key set and its tokens stay valid, which is
// how Logto rotates; without, its tokens are refused at once, as after a leak.
func (t *Tenant) RotateKeys(keepOld bool) {
	key, err := newSigningKey()
	if err != nil {
		t.fail("rotating the keys: %v", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := []signingKey{key}
	if keepOld {
		keys = append(keys, t.keys[0])
	}
	t.keys = keys
	t.verified = map[string]accessClaims{}
}

// Sign makes a token with the tenant's current key, for tests of what verifies tokens. The header begins as that of a real
// access token (alg ES384, typ at+jwt, kid) and takes the members given; one that is nil is left out. The claims are exactly
// those given. The signature is always a true ES384 one over this header and these claims.
func (t *Tenant) Sign(header, claims map[string]any) string {
	key := t.currentKey()
	h := map[string]any{"alg": "ES384", "typ": "at+jwt", "kid": key.jwk.KeyID}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	token, err := key.sign(h, claims)
	if err != nil {
		t.fail("%v", err)
	}
	return token
}

func (t *Tenant) currentKey() signingKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys[0]
}

// jwks answers the key set (recorded: jwks).
func (t *Tenant) jwks(*http.Request) answer {
	t.mu.Lock()
	keys := t.keys
	t.mu.Unlock()
	set := make([]fields, len(keys))
	for i, k := range keys {
		set[i] = fields{{"kty", "EC"}, {"use", "sig"}, {"kid", k.jwk.KeyID}, {"alg", "ES384"}, {"crv", "P-384"}, {"x", k.x}, {"y", k.y}}
	}
	return answer{status: http.StatusOK, body: fields{{"keys", set}}, header: http.Header{
		"Access-Control-Allow-Origin": {"*"},
		"Content-Type":                {"application/jwk-set+json; charset=utf-8"},
		"Cache-Control":               {"no-cache, max-age=0, must-revalidate"},
	}}
}

// discovery answers the provider's metadata (recorded: discovery).
func (t *Tenant) discovery(*http.Request) answer {
	iss := t.Issuer()
	return answer{
		status: http.StatusOK,
		header: http.Header{"Access-Control-Allow-Origin": {"*"}},
		body: fields{
			{"authorization_endpoint", iss + "/auth"},
			{"device_authorization_endpoint", iss + "/device/auth"},
			{"claims_parameter_supported", false},
			{"claims_supported", []string{"sub", "name", "family_name", "given_name", "middle_name", "nickname",
				"preferred_username", "profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
				"username", "created_at", "email", "email_verified", "phone_number", "phone_number_verified", "address",
				"custom_data", "identities", "sso_identities", "roles", "organizations", "organization_data",
				"organization_roles", "sid", "auth_time", "iss"}},
			{"code_challenge_methods_supported", []string{"S256"}},
			{"end_session_endpoint", iss + "/session/end"},
			{"grant_types_supported", []string{"implicit", "authorization_code", "refresh_token", grantClientCredentials,
				"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange"}},
			{"issuer", iss},
			{"jwks_uri", iss + "/jwks"},
			{"authorization_response_iss_parameter_supported", true},
			{"response_modes_supported", []string{"form_post", "fragment", "query"}},
			{"response_types_supported", []string{"code id_token", "code", "id_token", "none"}},
			{"scopes_supported", []string{"openid", "offline_access", "profile", "email", "phone", "address", "custom_data",
				"identities", "roles", "urn:logto:scope:organizations", "urn:logto:scope:organization_roles",
				"urn:logto:scope:sessions", "urn:logto:scope:trusted_devices"}},
			{"subject_types_supported", []string{"public"}},
			{"token_endpoint_auth_methods_supported", []string{"client_secret_basic", "client_secret_jwt",
				"client_secret_post", "private_key_jwt", "none"}},
			{"token_endpoint_auth_signing_alg_values_supported", []string{"HS256", "RS256", "PS256", "ES256", "Ed25519", "EdDSA"}},
			{"token_endpoint", iss + "/token"},
			{"id_token_signing_alg_values_supported", []string{"ES384"}},
			{"pushed_authorization_request_endpoint", iss + "/request"},
			{"request_uri_parameter_supported", false},
			{"userinfo_endpoint", iss + "/me"},
			{"introspection_endpoint", iss + "/token/introspection"},
			{"revocation_endpoint", iss + "/token/revocation"},
			{"backchannel_logout_supported", true},
			{"backchannel_logout_session_supported", true},
			{"claim_types_supported", []string{"normal"}},
		},
	}
}
