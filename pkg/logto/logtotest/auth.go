package logtotest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// accessClaims are the claims of an access token, in Logto's order.
type accessClaims struct {
	ID             string `json:"jti"`
	Subject        string `json:"sub"`
	IssuedAt       int64  `json:"iat"`
	Expiry         int64  `json:"exp"`
	Scope          string `json:"scope,omitempty"`
	ClientID       string `json:"client_id"`
	Issuer         string `json:"iss"`
	Audience       string `json:"aud"`
	OrganizationID string `json:"organization_id,omitempty"`
}

// maxVerified is how many verified tokens are remembered, because checking an ES384 signature takes most of a request's time.
const maxVerified = 1000

// api lets only requests with a Management API token pass, as Logto does before it looks at anything else.
func (t *Tenant) api(h func(*http.Request) answer) func(*http.Request) answer {
	return func(r *http.Request) answer {
		if refused := t.authorize(r); refused != nil {
			return *refused
		}
		return h(r)
	}
}

func (t *Tenant) authorize(r *http.Request) *answer {
	header := r.Header.Get("Authorization")
	if header == "" {
		a := apiError(http.StatusUnauthorized, "auth.authorization_header_missing", "Authorization header is missing.")
		return &a
	}
	scheme, token, _ := strings.Cut(header, " ")
	if scheme != "Bearer" {
		a := apiErrorWith(http.StatusUnauthorized, "auth.authorization_token_type_not_supported",
			"Authorization type is not supported.", fields{{"supportedTypes", []string{"Bearer"}}}, "")
		return &a
	}
	claims, reason := t.verify(token)
	if reason != nil {
		a := apiErrorWith(http.StatusUnauthorized, "auth.unauthorized", msgUnauthorized, reason, "")
		return &a
	}
	if !slices.Contains(strings.Fields(claims.Scope), "all") {
		a := apiError(http.StatusForbidden, "auth.forbidden", msgForbidden)
		return &a
	}
	return nil
}

// verify checks a token for the Management API; a reason is what Logto tells about a token it refuses: the error of its
// JOSE library, with the claims of the token where one of them is wrong (recorded: api-wrong-audience).
func (t *Tenant) verify(token string) (accessClaims, fields) {
	t.mu.Lock()
	claims, ok := t.verified[token]
	keys, now := t.keys, t.now().Unix()
	t.mu.Unlock()
	payload := any(claims)
	if !ok {
		raw, reason := checkSignature(token, keys)
		if reason != nil {
			return claims, reason
		}
		if err := json.Unmarshal(raw, &claims); err != nil {
			return claims, joseError("ERR_JWT_INVALID", "JWTInvalid")
		}
		payload = json.RawMessage(raw)
	}
	wrong := func(code, name, claim string) (accessClaims, fields) {
		return claims, append(joseError(code, name),
			field{"claim", claim}, field{"reason", "check_failed"}, field{"payload", payload})
	}
	switch {
	case claims.Issuer != t.Issuer():
		return wrong("ERR_JWT_CLAIM_VALIDATION_FAILED", "JWTClaimValidationFailed", "iss")
	case claims.Audience != ManagementResource:
		return wrong("ERR_JWT_CLAIM_VALIDATION_FAILED", "JWTClaimValidationFailed", "aud")
	case claims.Expiry <= now:
		return wrong("ERR_JWT_EXPIRED", "JWTExpired", "exp")
	}
	if !ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.verified) >= maxVerified {
			clear(t.verified)
		}
		// Keys that were rotated meanwhile must not leave their tokens here.
		if t.keys[0].jwk.KeyID == keys[0].jwk.KeyID {
			t.verified[token] = claims
		}
	}
	return claims, nil
}

func checkSignature(token string, keys []signingKey) ([]byte, fields) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES384})
	if err != nil {
		return nil, joseError("ERR_JWS_INVALID", "JWSInvalid")
	}
	for _, k := range keys {
		if k.jwk.KeyID != jws.Signatures[0].Header.KeyID {
			continue
		}
		payload, err := jws.Verify(k.jwk)
		if err != nil {
			return nil, joseError("ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "JWSSignatureVerificationFailed")
		}
		return payload, nil
	}
	return nil, joseError("ERR_JWKS_NO_MATCHING_KEY", "JWKSNoMatchingKey")
}

func joseError(code, name string) fields { return fields{{"code", code}, {"name", name}} }

// managementToken makes a token for the Management API that outlives any test.
func (t *Tenant) managementToken() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.keys[0]
	if t.management.key == key.jwk.KeyID {
		return t.management.token
	}
	now := t.now()
	token, err := key.sign(fields{{"alg", "ES384"}, {"typ", "at+jwt"}, {"kid", key.jwk.KeyID}}, accessClaims{
		ID: randomString(43, requestIDLetters), Subject: "logtotest", IssuedAt: now.Unix(), Expiry: now.AddDate(100, 0, 0).Unix(),
		Scope: "all", ClientID: "logtotest", Issuer: t.Issuer(), Audience: ManagementResource,
	})
	if err != nil {
		t.fail("%v", err)
	}
	t.management.key, t.management.token = key.jwk.KeyID, token
	return token
}
