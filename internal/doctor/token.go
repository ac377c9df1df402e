package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// token gets a token of its own: that of a warm function would say nothing of today's secret.
func (e *examination) token(ctx context.Context) Finding {
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(e.credentials), Resource: e.Resource, ResourceOf: e.ResourceOf, Scopes: e.Scopes,
		HTTPClient: e.client, Now: e.Now,
	})
	if err != nil {
		return Failed("correct "+e.ResourceVariable, "%v", err)
	}
	got, err := source.Token(ctx)
	source.Wait(ctx)
	if errors.As(err, &e.missing) {
		return Found("one for app %s; with which scopes, the next line says", e.credentials.AppID)
	}
	if err != nil {
		return e.refused(err)
	}
	e.bearer = got.AccessToken
	return e.verify(ctx, got.AccessToken)
}

// refused says what to do about a refusal of the token endpoint.
func (e *examination) refused(err error) Finding {
	app := "Console > Applications > the app " + e.credentials.AppID
	found := cause(err).Error()
	if refusal := (*m2m.TokenError)(nil); errors.As(err, &refusal) {
		found = fmt.Sprintf("%d %s: %v", refusal.Status, refusal.Code, refusal.Unwrap())
	}
	switch {
	case errors.Is(err, m2m.ErrWrongSecret):
		return Failed(app+" > App secrets: copy one that is there into the file, and "+e.Secret.Put(), "%s", found)
	case errors.Is(err, m2m.ErrSecretExpired):
		return Failed(app+" > App secrets: make one that does not expire soon, and "+e.Secret.Put(), "%s", found)
	case errors.Is(err, m2m.ErrUnknownApp):
		return Failed("Console > Applications: compare the app's id, and the tenant, with those in the secret ("+e.credentials.String()+")", "%s", found)
	case errors.Is(err, m2m.ErrUnknownResource):
		return Failed("Console > API resources: copy the API identifier, to the letter, into "+e.ResourceVariable+
			"; on Logto Cloud the endpoint in the secret must be https://TENANT-ID.logto.app and no custom domain", "%s", found)
	case errors.Is(err, m2m.ErrGrantNotAllowed):
		return Failed("Console > Applications > Create application > Machine-to-machine: make one of this type, and put its id and secret into the secret", "%s", found)
	case errors.Is(err, m2m.ErrQuotaExceeded):
		return Failed("Console > Tenant settings > Subscription: raise the plan, or wait until the period ends", "%s", found)
	case errors.Is(err, m2m.ErrRateLimited):
		e.throttled = "the token endpoint"
		return Failed("wait a minute, then see in Console > Audit logs who asks so often", "%s", found)
	}
	return Failed("try again in a minute; if it lasts, look at Logto's own log or at https://status.logto.io", "%s", found)
}

// verify checks the token as an API would, with the keys that the issuer shows.
func (e *examination) verify(ctx context.Context, token string) Finding {
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer: e.issuerFound, Audience: e.resource(), HTTPClient: e.client, Now: e.Now, Algorithms: []string{"ES384", "RS256"},
		Log: slog.New(slog.DiscardHandler), // the finding says it
	})
	if err != nil {
		return Failed("correct the issuer in Logto's configuration (ENDPOINT)", "%v", err)
	}
	verified, err := verifier.Verify(ctx, token)
	if err != nil {
		return Failed("see that "+e.issuerFound+"/jwks shows the keys that Logto signs with", "Logto gave one that an API would refuse: %v", err)
	}
	return Found("one for app %s and %s, signed by the issuer, good until %s", verified.ClientID, strings.Join(verified.Audience, " "),
		verified.Expiry.UTC().Format(time.TimeOnly+"Z"))
}

// resource is the indicator of the API that the token is for.
func (e *examination) resource() string {
	if e.Resource == "" && e.ResourceOf != nil {
		return e.ResourceOf(e.credentials.Endpoint)
	}
	return e.Resource
}

func (e *examination) scopes(context.Context) Finding {
	if e.missing == nil {
		return Found("%s of %s", strings.Join(e.Scopes, " "), e.resource())
	}
	return Failed(fmt.Sprintf("Console > Roles > a machine-to-machine role > Permissions: add %s of %s, and assign the role in Applications > %s > Roles",
		strings.Join(e.missing.Missing, " "), e.missing.Resource, e.missing.AppID),
		"missing: %s; granted: %s", strings.Join(e.missing.Missing, " "), orNothing(e.missing.Granted))
}

func orNothing(scopes []string) string {
	if len(scopes) == 0 {
		return "nothing"
	}
	return strings.Join(scopes, " ")
}

// least asks for all that the API has and the job does not need: whoever has the secret could.
func (e *examination) least(ctx context.Context) Finding {
	granted := e.Others()
	if len(granted) == 0 {
		return Nothing("the API has no scopes but those that it asks for")
	}
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(e.credentials), Resource: e.Resource, Scopes: e.Others(), HTTPClient: e.client, Now: e.Now,
	})
	if err != nil {
		return Failed("correct "+e.ResourceVariable, "%v", err)
	}
	_, err = source.Token(ctx)
	source.Wait(ctx)
	if missing := (*m2m.ScopeError)(nil); errors.As(err, &missing) {
		granted = missing.Granted
	} else if err != nil {
		return e.refused(err)
	}
	if len(granted) == 0 {
		return Found("not granted: %s", strings.Join(e.Others(), " "))
	}
	return Warning("Console > Roles > the app's machine-to-machine role > Permissions: remove "+strings.Join(granted, " ")+" of "+e.Resource,
		"granted, and not asked for: %s; whoever has the secret can ask", strings.Join(granted, " "))
}

// all says why nothing less can be granted.
func (e *examination) all(context.Context) Finding {
	return Nothing("Logto's Management API has no permission but all; `m2mjobs doctor --scopes` says what else limits this app")
}

// management asks for one user.
func (e *examination) management(ctx context.Context) Finding {
	resp, _, err := e.get(ctx, e.credentials.Endpoint+"/api/users?page=1&page_size=1", e.bearer)
	if err != nil {
		return Failed(unreachable(err, `"endpoint" in the secret`, e.credentials.Endpoint), "no answer from %s/api: %v", e.credentials.Endpoint, cause(err))
	}
	e.note429(resp, "the Management API")
	if resp.StatusCode == http.StatusOK {
		return Found("200 to GET /api/users, %s users", resp.Header.Get("Total-Number"))
	}
	return Failed(e.mendManagement(resp.StatusCode), "%s to GET /api/users", resp.Status)
}

func (e *examination) mendManagement(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "the API takes tokens of " + e.issuerFound + " for " + e.resource() + " no more than of another address: on Logto Cloud the endpoint in the secret " +
			"must be https://TENANT-ID.logto.app; else give the indicator in Console > API resources > Logto Management API as LOGTO_RESOURCE"
	case status == http.StatusForbidden:
		return "Console > Roles > the machine-to-machine role > Permissions: add all of Logto Management API"
	case status == http.StatusTooManyRequests:
		return "wait a minute; see the line rate"
	case status >= http.StatusInternalServerError:
		return "try again in a minute; if it lasts, look at Logto's own log or at https://status.logto.io"
	}
	return `give the address of Logto itself as "endpoint" in the secret: ` + e.Secret.Put()
}

// role reads the app's roles, which an app with all may.
func (e *examination) role(ctx context.Context) Finding {
	app := e.credentials.AppID
	mend := "Console > Applications > " + app + " > Roles: assign the machine-to-machine role with all of Logto Management API"
	resp, body, err := e.get(ctx, e.credentials.Endpoint+"/api/applications/"+url.PathEscape(app)+"/roles", e.bearer)
	if err != nil {
		return Failed("try again in a minute", "no answer: %v", cause(err))
	}
	e.note429(resp, "the Management API")
	var roles []struct {
		Name string `json:"name"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &roles) != nil {
		return Failed("try again in a minute; the token may still have what a role gave that was taken away since: "+mend, "%s to GET /api/applications/%s/roles", resp.Status, app)
	}
	if len(roles) == 0 {
		return Failed(mend, "the app has none any more: this token is the last one with its permissions")
	}
	var names []string
	for _, role := range roles {
		names = append(names, role.Name)
	}
	return Found("%s", strings.Join(names, ", "))
}

// noRole says why the roles of an app for the own API are not read.
func (e *examination) noRole(context.Context) Finding {
	return Nothing("this app may not read its roles, and should not; what they grant, the line scopes says")
}

// rate says what can be said: no answer of Logto's tells how much is left.
func (e *examination) rate(context.Context) Finding {
	if e.throttled != "" {
		return Failed("wait until it is over (Logto Cloud counts 10 seconds), and see in Console > Audit logs which app asks so often",
			"429 from %s: the tenant's limit is used up now", e.throttled)
	}
	if u, err := url.Parse(e.credentials.Endpoint); err == nil && strings.HasSuffix(strings.ToLower(u.Hostname()), ".logto.app") {
		return Found("no 429 now. How much is left Logto does not say; a tenant has 200 requests in 10 seconds for everything, and a job keeps to half of that")
	}
	return Found("no 429 now. A server of your own has no limit; what stands before it may have")
}
