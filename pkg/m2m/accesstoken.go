package m2m

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// AccessToken is a verified token. It may be shared and must not be changed.
type AccessToken struct {
	ID             string    // jti
	Issuer         string    // iss
	Subject        string    // sub: for a machine-to-machine token the app id
	ClientID       string    // client_id: the app id
	Audience       []string  // aud
	Scopes         []string  // scope, split at spaces
	OrganizationID string    // organization_id, if it is a token of an organization
	IssuedAt       time.Time // iat; zero if the token does not say
	Expiry         time.Time // exp

	notBefore time.Time // nbf; zero if the token does not say
	payload   []byte
}

// Claims unmarshals the token's claims into a struct, for those that are not among the fields: Logto puts in what the tenant's
// script for custom claims returns. Names match to the letter, and an object that has a key twice is refused.
func (t *AccessToken) Claims(into any) error {
	if err := json.Unmarshal(t.payload, into); err != nil {
		return fmt.Errorf("the claims of a token of app %s: %w", t.ClientID, err)
	}
	return nil
}

// RequireScopes returns an *InsufficientScopeError unless the token has all of the scopes. Middleware calls it; a
// handler whose need depends on the request calls it itself and passes the error to DenyScopes.
func (t *AccessToken) RequireScopes(scopes ...string) error {
	if m := missing(scopes, t.Scopes); len(m) > 0 {
		return &InsufficientScopeError{ClientID: t.ClientID, Required: scopes, Missing: m}
	}
	return nil
}

// claims are those of RFC 9068 section 2.2, and Logto's organization_id.
type claims struct {
	jwt.Claims
	ClientID       string `json:"client_id"`
	Scope          string `json:"scope"`
	OrganizationID string `json:"organization_id"`
}

// organizationAudience begins the aud of an organization token (Logto: Organization token).
const organizationAudience = "urn:logto:organization:"

// read reads claims that the issuer's key has signed.
func (v *Verifier) read(payload []byte) (*AccessToken, error) {
	var c claims
	// This JSON package refuses an object with the same key twice, which others read in different ways.
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, invalidToken("its claims are not those of RFC 9068")
	}
	if c.Issuer != v.issuer {
		return nil, invalidToken("its issuer is not %s: get it from that tenant's own endpoint", v.issuer)
	}
	organization, err := c.organization()
	if err != nil {
		return nil, err
	}
	ours := v.audience != "" && c.Audience.Contains(v.audience)
	if !ours && !(v.organizations && organization.audience) {
		return nil, invalidToken("it is not for %s: ask the token endpoint for that resource", v.accepts())
	}
	if c.Expiry == nil {
		return nil, invalidToken("it has no exp")
	}
	t := &AccessToken{
		ID:             c.ID,
		Issuer:         c.Issuer,
		Subject:        c.Subject,
		ClientID:       c.ClientID,
		Audience:       c.Audience,
		Scopes:         strings.Fields(c.Scope),
		OrganizationID: organization.id,
		IssuedAt:       c.IssuedAt.Time(),
		Expiry:         c.Expiry.Time(),
		payload:        payload,
	}
	if c.NotBefore != nil {
		t.notBefore = c.NotBefore.Time()
	}
	return t, nil
}

// organization is what a token is for besides an API, or instead of one.
type organization struct {
	id       string
	audience bool // it is an organization token: its aud names the organization
}

// organization finds it in organization_id, in aud, or in both.
func (c *claims) organization() (organization, error) {
	o := organization{id: c.OrganizationID}
	for _, audience := range c.Audience {
		id, ok := strings.CutPrefix(audience, organizationAudience)
		if !ok {
			continue
		}
		if id == "" || o.id != "" && o.id != id {
			return o, invalidToken("it names more than one organization, or none")
		}
		o = organization{id, true}
	}
	return o, nil
}

// checkTimes tells whether an authentic token is valid now.
func (v *Verifier) checkTimes(t *AccessToken) error {
	now := v.now()
	switch {
	case !now.Before(t.Expiry.Add(v.leeway)):
		return invalidToken("it expired at %s", t.Expiry.UTC().Format(time.RFC3339))
	case !t.notBefore.IsZero() && now.Add(v.leeway).Before(t.notBefore):
		return invalidToken("it is not valid before %s", t.notBefore.UTC().Format(time.RFC3339))
	}
	return nil
}
