package logtotest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const grantClientCredentials = "client_credentials"

// tokenByGet is the answer to GET (recorded: token-get).
func tokenByGet(*http.Request) answer {
	return oidcError(http.StatusNotFound, "invalid_request", "unrecognized route or not allowed method (GET on /token)")
}

// token is the token endpoint for client_credentials (RFC 6749 section 4.4), with Logto's checks in Logto's order. What
// Logto answers before it hands the request to its OpenID provider has no CORS and cache headers; the rest has.
func (t *Tenant) token(r *http.Request) answer {
	body, err := readBody(r)
	if errors.Is(err, errTooLarge) {
		return notFoundText()
	}
	if err != nil {
		return internalError()
	}
	if t.quotaUsedUp() {
		return apiError(http.StatusTooManyRequests, "auth.exceed_token_limit",
			"Token limit exceeded. Please upgrade your subscription or wait for the next period.")
	}
	params, malformed := tokenParams(r, body)
	if malformed != nil {
		return *malformed
	}
	auth, failed := clientAuth(r, params)
	if failed == nil && t.secretExpired(auth) {
		return oidcError(http.StatusBadRequest, "invalid_request", "client secret has expired")
	}
	a := t.exchange(auth, failed, params)
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("Access-Control-Allow-Origin", "*")
	a.header.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
	a.header.Set("Cache-Control", "no-store")
	if a.status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		a.header.Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q, error=%q, error_description=%q",
			t.Issuer(), "invalid_client", "client authentication failed"))
	}
	return a
}

// quotaUsedUp tells whether the tenant's tokens of this period are used up.
func (t *Tenant) quotaUsedUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tokensLeft == 0
}

// tokenParams reads the parameters from a form, or from JSON, which Logto takes too (recorded: token-json-body).
func tokenParams(r *http.Request, body []byte) (url.Values, *answer) {
	if isForm(r) {
		// A pair that can't be decoded is left out, as in JavaScript's querystring, so the error says nothing new.
		params, err := url.ParseQuery(string(body))
		if err != nil && len(params) == 0 {
			return url.Values{}, nil
		}
		return params, nil
	}
	if !isJSON(r) {
		return url.Values{}, nil
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		a := badJSON(err)
		return nil, &a
	}
	params := url.Values{}
	for k, v := range members {
		switch v := v.(type) {
		case string:
			params.Set(k, v)
		case []any:
			for _, e := range v {
				params.Add(k, fmt.Sprint(e))
			}
		}
	}
	return params, nil
}

// clientCredentials are what a client proves itself with.
type clientCredentials struct{ id, secret string }

// clientAuth reads the client's credentials: client_secret_basic, form-urldecoded as RFC 6749 section 2.3.1 says, or
// client_secret_post.
func clientAuth(r *http.Request, params url.Values) (clientCredentials, *answer) {
	fail := func(description string) (clientCredentials, *answer) {
		a := oidcError(http.StatusBadRequest, "invalid_request", description)
		return clientCredentials{}, &a
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		if !params.Has("client_id") {
			return fail("no client authentication mechanism provided")
		}
		return clientCredentials{params.Get("client_id"), params.Get("client_secret")}, nil
	}
	scheme, encoded, _ := strings.Cut(header, " ")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	id, secret, colon := strings.Cut(string(raw), ":")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !colon {
		return fail("invalid authorization header value format")
	}
	if params.Has("client_secret") {
		return fail("client authentication must only be provided using one mechanism")
	}
	if id, err = url.QueryUnescape(id); err != nil {
		return fail("client_id and client_secret in the authorization header are not properly encoded")
	}
	if secret, err = url.QueryUnescape(secret); err != nil {
		return fail("client_id and client_secret in the authorization header are not properly encoded")
	}
	return clientCredentials{id, secret}, nil
}

func (t *Tenant) secretExpired(c clientCredentials) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.apps[c.id]
	if a == nil {
		return false
	}
	s := a.secretWithValue(c.secret)
	return s != nil && !s.ExpiresAt.IsZero() && s.ExpiresAt.Before(t.now())
}

// exchange gives the token, and writes the audit log as Logto does.
func (t *Tenant) exchange(auth clientCredentials, failed *answer, params url.Values) answer {
	if failed != nil {
		t.logExchange("", "", params, "", *failed)
		return *failed
	}
	t.mu.Lock()
	client := t.apps[auth.id]
	secretName, known := "", client != nil
	if known {
		if s := client.secretWithValue(auth.secret); s != nil {
			secretName = s.Name
		}
	}
	t.mu.Unlock()
	var a answer
	scope := ""
	switch {
	case !known:
		a = oidcError(http.StatusBadRequest, "invalid_client", "invalid client "+auth.id)
		auth.id = ""
	case secretName == "":
		a = oidcError(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	default:
		a, scope = t.clientCredentialsGrant(auth.id, params)
	}
	t.logExchange(auth.id, secretName, params, scope, a)
	return a
}

// clientCredentialsGrant answers an authenticated client, and tells the scope granted.
func (t *Tenant) clientCredentialsGrant(appID string, params url.Values) (answer, string) {
	refuse := func(status int, code, description string) (answer, string) {
		return oidcError(status, code, description), ""
	}
	switch grant := params.Get("grant_type"); grant {
	case grantClientCredentials:
	case "":
		return refuse(http.StatusBadRequest, "invalid_request", "missing required parameter 'grant_type'")
	case "authorization_code", "refresh_token", "implicit", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:token-exchange":
		return refuse(http.StatusBadRequest, "invalid_request", "requested grant type is not allowed for this client")
	default:
		return refuse(http.StatusBadRequest, "unsupported_grant_type", "unsupported grant_type requested")
	}

	asked, organizationID := params["resource"], params.Get("organization_id")
	t.mu.Lock()
	if len(asked) == 0 && organizationID == "" {
		asked = t.defaultResource()
	}
	var granted []string
	audience, unknown, stranger := "", false, false
	if len(asked) == 1 {
		audience = asked[0]
		unknown = t.resource(audience) == nil
		granted = t.appScopes(appID, audience)
	}
	if organizationID != "" {
		org := t.organizations[organizationID]
		stranger = org == nil || org.members[appID] == nil
		if !stranger {
			granted = org.members[appID][audience]
		}
		if audience == "" {
			audience = "urn:logto:organization:" + organizationID
		}
	}
	key, now, lifetime := t.keys[0], t.now(), t.lifetime
	t.mu.Unlock()

	switch {
	case len(asked) == 0 && organizationID == "":
		return refuse(http.StatusBadRequest, "invalid_target", "both `resource` and `organization_id` are not provided")
	case len(asked) > 1:
		return refuse(http.StatusBadRequest, "invalid_target",
			"only a single resource indicator value is supported for this grant type")
	case unknown:
		return refuse(http.StatusBadRequest, "invalid_target", "resource indicator is missing, or unknown")
	case stranger:
		return refuse(http.StatusForbidden, "access_denied", "app has not associated with the organization")
	}
	scope := grantedScope(params.Get("scope"), granted)
	claims := accessClaims{
		ID: randomString(43, requestIDLetters), Subject: appID, IssuedAt: now.Unix(), Expiry: now.Add(lifetime).Unix(),
		Scope: scope, ClientID: appID, Issuer: t.Issuer(), Audience: audience, OrganizationID: organizationID,
	}
	token, err := key.sign(fields{{"alg", "ES384"}, {"typ", "at+jwt"}, {"kid", key.jwk.KeyID}}, claims)
	if err != nil || !t.takeFromQuota() {
		return internalError(), ""
	}
	body := fields{{"access_token", token}, {"expires_in", int64(lifetime.Seconds())}, {"token_type", "Bearer"}}
	if scope != "" {
		body = append(body, field{"scope", scope})
	}
	return answer{status: http.StatusOK, body: body}, scope
}

// takeFromQuota counts a token. It fails only where others took the last ones meanwhile.
func (t *Tenant) takeFromQuota() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokensLeft > 0 {
		t.tokensLeft--
		return true
	}
	return t.tokensLeft < 0
}

// grantedScope is what of the scopes asked is granted, in the order asked. The rest is dropped silently (recorded:
// token-own-api-one-scope-not-granted).
func grantedScope(asked string, granted []string) string {
	var scopes []string
	for _, s := range strings.Fields(asked) {
		if slices.Contains(granted, s) && !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return strings.Join(scopes, " ")
}
