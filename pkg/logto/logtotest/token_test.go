package logtotest_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// keySet gets the tenant's keys as an API that verifies tokens does.
func keySet(t *testing.T, tenant *logtotest.Tenant) jose.JSONWebKeySet {
	t.Helper()
	_, _, body := send(t, tenant.Client(), http.MethodGet, tenant.URL+"/oidc/jwks", "")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// verify returns header and claims of a token that a key of the tenant signed.
func verify(t *testing.T, tenant *logtotest.Tenant, token string) (header jose.Header, claims map[string]any, ok bool) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES384})
	if err != nil {
		t.Fatal(err)
	}
	set := keySet(t, tenant)
	keys := set.Key(jws.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return header, nil, false
	}
	payload, err := jws.Verify(keys[0])
	if err != nil {
		return header, nil, false
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Header, claims, true
}

// The token has the header and the claims of a recorded one.
func TestATokenLooksAsRecorded(t *testing.T) {
	var recorded map[string]struct{ Header, Claims map[string]any }
	raw, err := os.ReadFile("testdata/access-token-decoded.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	_, answer := askToken(t, tenant, app, management())
	header, claims, ok := verify(t, tenant, fmt.Sprint(answer["access_token"]))
	if !ok {
		t.Fatal("the token is not signed by a key of the key set")
	}
	want := recorded["management"]
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want.Claims)), slices.Sorted(maps.Keys(claims))); diff != "" {
		t.Error(diff)
	}
	for k, v := range map[string]any{"sub": app.ID, "client_id": app.ID, "aud": logtotest.ManagementResource,
		"iss": tenant.Issuer(), "scope": "all"} {
		if claims[k] != v {
			t.Errorf("%s is %v, not %v", k, claims[k], v)
		}
	}
	if header.Algorithm != "ES384" || header.ExtraHeaders[jose.HeaderType] != "at+jwt" {
		t.Errorf("header is %+v", header)
	}
	for name, n := range map[string]int{"jti": 43} {
		if s := fmt.Sprint(claims[name]); len(s) != n {
			t.Errorf("%s has %d characters, not %d", name, len(s), n)
		}
	}
}

func TestLifetimeAndQuotaOfTokens(t *testing.T) {
	now := time.Now()
	tenant := logtotest.NewWith(t, logtotest.Config{TokenQuota: 2, TokenLifetime: 10 * time.Minute, Now: func() time.Time { return now }})
	app := tenant.AddApp("sync")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")

	_, answer := askToken(t, tenant, app, management())
	if answer["expires_in"] != 600.0 {
		t.Errorf("expires_in is %v", answer["expires_in"])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tenant.URL+"/api/users", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", fmt.Sprint("Bearer ", answer["access_token"]))
	if status, _, _ := do(t, tenant.Client(), req); status != http.StatusOK {
		t.Errorf("a fresh token: %d", status)
	}
	now = now.Add(10 * time.Minute)
	status, _, body := do(t, tenant.Client(), req)
	if status != http.StatusUnauthorized || !strings.Contains(string(body), "ERR_JWT_EXPIRED") {
		t.Errorf("an expired token: %d %s", status, body)
	}

	// A refusal costs nothing of the quota.
	if status, _ := askToken(t, tenant, logtotest.App{ID: app.ID, Secret: "wrong"}, management()); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", status)
	}
	if status, _ := askToken(t, tenant, app, management()); status != http.StatusOK {
		t.Errorf("the second token: %d", status)
	}
	status, answer = askToken(t, tenant, app, management())
	if status != http.StatusTooManyRequests || answer["code"] != "auth.exceed_token_limit" {
		t.Errorf("the third token of two: %d %v", status, answer)
	}
}

func TestKeysRotate(t *testing.T) {
	tenant := logtotest.New(t)
	first := tenant.Sign(nil, map[string]any{"a": 1})
	tenant.RotateKeys(true)
	second := tenant.Sign(nil, map[string]any{"a": 2})
	for _, token := range []string{first, second} {
		if _, _, ok := verify(t, tenant, token); !ok {
			t.Error("a token is refused during the overlap")
		}
	}
	tenant.RotateKeys(false)
	for _, token := range []string{first, second} {
		if _, _, ok := verify(t, tenant, token); ok {
			t.Error("a token of a key that was thrown away is taken")
		}
	}
	if n := len(keySet(t, tenant).Keys); n != 1 {
		t.Errorf("%d keys", n)
	}
	// The tenant's own API follows.
	if status, _, _ := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+"/api/users", ""); status != http.StatusOK {
		t.Errorf("after the rotation: %d", status)
	}
}

func TestTheKeySetIsNotSentAgainToWhoHasIt(t *testing.T) {
	tenant := logtotest.New(t)
	_, header, _ := send(t, tenant.Client(), http.MethodGet, tenant.URL+"/oidc/jwks", "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tenant.URL+"/oidc/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", header.Get("ETag"))
	if status, _, body := do(t, tenant.Client(), req); status != http.StatusNotModified || len(body) > 0 {
		t.Errorf("%d with %d bytes", status, len(body))
	}
	tenant.RotateKeys(true)
	if status, _, _ := do(t, tenant.Client(), req); status != http.StatusOK {
		t.Errorf("after a rotation: %d", status)
	}
}

func TestSignMakesAnyTokenButAlwaysSignsIt(t *testing.T) {
	tenant := logtotest.New(t)
	token := tenant.Sign(map[string]any{"typ": nil, "x": "y"}, map[string]any{"aud": []string{"a", "b"}})
	header, claims, ok := verify(t, tenant, token)
	if !ok {
		t.Fatal("the signature is wrong")
	}
	if _, typed := header.ExtraHeaders[jose.HeaderType]; typed || header.ExtraHeaders["x"] != "y" {
		t.Errorf("header is %+v", header)
	}
	if diff := cmp.Diff(map[string]any{"aud": []any{"a", "b"}}, claims); diff != "" {
		t.Error(diff)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(tenant.Sign(map[string]any{"alg": "none"}, nil), ".")[0])
	if err != nil || !strings.Contains(string(raw), `"alg":"none"`) {
		t.Errorf("header is %s, %v", raw, err)
	}
	if _, err := x509.MarshalPKIXPublicKey(keySet(t, tenant).Keys[0].Key); err != nil {
		t.Error(err)
	}
}

func TestOrganizationTokens(t *testing.T) {
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync")
	tenant.AddResource("https://shopping.api", "read:orders")
	org := tenant.AddOrganization()

	if status, answer := askToken(t, tenant, app, url.Values{"organization_id": {org}}); status != http.StatusForbidden || answer["error"] != "access_denied" {
		t.Errorf("not a member: %d %v", status, answer)
	}
	tenant.JoinOrganization(org, app.ID, "", "manage")
	tenant.JoinOrganization(org, app.ID, "https://shopping.api", "read:orders")
	tests := []struct {
		params          url.Values
		audience, scope string
	}{
		{url.Values{"organization_id": {org}, "scope": {"manage other"}}, "urn:logto:organization:" + org, "manage"},
		{url.Values{"organization_id": {org}, "resource": {"https://shopping.api"}, "scope": {"read:orders"}}, "https://shopping.api", "read:orders"},
	}
	for _, tt := range tests {
		_, answer := askToken(t, tenant, app, tt.params)
		_, claims, ok := verify(t, tenant, fmt.Sprint(answer["access_token"]))
		if !ok || claims["aud"] != tt.audience || claims["organization_id"] != org || answer["scope"] != tt.scope {
			t.Errorf("%v: %v, %v", tt.params, answer["scope"], claims)
		}
	}
	// Outside the organization nothing was granted.
	_, answer := askToken(t, tenant, app, url.Values{"resource": {"https://shopping.api"}, "scope": {"read:orders"}})
	if _, granted := answer["scope"]; granted {
		t.Errorf("granted %v", answer["scope"])
	}
}

func TestGrantsAndSecretsChangeWhileTheTenantRuns(t *testing.T) {
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync")
	scope := func(app logtotest.App) any {
		status, answer := askToken(t, tenant, app, management())
		if status != http.StatusOK {
			return status
		}
		return answer["scope"]
	}
	if got := scope(app); got != nil {
		t.Errorf("without a role: %v", got)
	}
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	if got := scope(app); got != "all" {
		t.Errorf("granted: %v", got)
	}
	next := logtotest.App{ID: app.ID, Secret: tenant.AddSecret(app.ID, logtotest.Secret{Name: "next"}).Value}
	tenant.DeleteSecret(app.ID, "Default secret")
	if old, got := scope(app), scope(next); old != http.StatusUnauthorized || got != "all" {
		t.Errorf("after the change of secrets: %v, %v", old, got)
	}
	past := tenant.AddSecret(app.ID, logtotest.Secret{Name: "past", ExpiresAt: time.Now().Add(-time.Hour)})
	if status, answer := askToken(t, tenant, logtotest.App{ID: app.ID, Secret: past.Value}, management()); status != http.StatusBadRequest ||
		answer["error_description"] != "client secret has expired" {
		t.Errorf("an expired secret: %d %v", status, answer)
	}
	tenant.Revoke(app.ID, logtotest.ManagementResource)
	if got := scope(next); got != nil {
		t.Errorf("revoked: %v", got)
	}
	tenant.DeleteApp(app.ID)
	if got := scope(next); got != http.StatusBadRequest {
		t.Errorf("deleted: %v", got)
	}
}

func TestADefaultResourceIsUsedSilently(t *testing.T) {
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	tenant.SetDefaultResource(logtotest.ManagementResource)
	if status, answer := askToken(t, tenant, app, url.Values{"scope": {"all"}}); status != http.StatusOK || answer["scope"] != "all" {
		t.Errorf("%d %v", status, answer)
	}
}

// The audit log proves which secret is still in use.
func TestTheAuditLogNamesTheSecret(t *testing.T) {
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync")
	second := tenant.AddSecret(app.ID, logtotest.Secret{Name: "second"})
	askToken(t, tenant, app, management())
	askToken(t, tenant, logtotest.App{ID: app.ID, Secret: second.Value}, management())
	askToken(t, tenant, logtotest.App{ID: app.ID, Secret: "wrong"}, management())
	_, _, body := send(t, tenant.ManagementClient(), http.MethodGet,
		tenant.URL+"/api/logs?applicationId="+app.ID+"&logKey=ExchangeTokenBy.ClientCredentials", "")
	var logs []struct {
		Payload struct {
			Result            string
			ApplicationSecret struct{ Name string }
		}
	}
	if err := json.Unmarshal(body, &logs); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range logs {
		got = append(got, l.Payload.Result+" "+l.Payload.ApplicationSecret.Name)
	}
	if diff := cmp.Diff([]string{"Error ", "Success second", "Success Default secret"}, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(body), second.Value) {
		t.Error("a secret is in the log")
	}
}
