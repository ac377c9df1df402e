package m2m

import (
	"context"
	"net/http"
	"time"
)

// VerifierConfig says which tokens an API accepts.
type VerifierConfig struct {
	// Issuer is the exact iss of the tokens: {endpoint}/oidc for Logto. Required.
	Issuer string
	// Audience is the API's own resource indicator, which must be in aud. Required.
	Audience string
	// JWKSURL is where the signing keys are. Empty: the issuer's discovery document tells
	// ({Issuer}/.well-known/openid-configuration).
	JWKSURL string
	// Algorithms are the signature algorithms accepted. Empty: ES384, which Logto signs with by default.
	Algorithms []string
	// Leeway is how far the clocks may differ. Zero: 30 seconds; negative: none.
	Leeway time.Duration
	// RefetchInterval is the least time between two fetches of the keys because of an unknown kid. Zero: 1 minute.
	RefetchInterval time.Duration
	// HTTPClient fetches discovery document and keys. Nil: a client of its own over NewBase, with a time-out.
	HTTPClient *http.Client
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Verifier checks access tokens for the API that receives them.
type Verifier struct{}

// NewVerifier makes a Verifier. It fetches nothing yet.
func NewVerifier(c VerifierConfig) (*Verifier, error) { panic("TODO") }

// AccessToken is a verified token.
type AccessToken struct {
	ID             string    // jti
	Issuer         string    // iss
	Subject        string    // sub: for a machine-to-machine token the app id
	ClientID       string    // client_id: the app id
	Audience       []string  // aud
	Scopes         []string  // scope, split at spaces
	OrganizationID string    // organization_id, if it is a token of an organization
	IssuedAt       time.Time // iat
	Expiry         time.Time // exp
}

// Verify checks a token's signature and claims.
func (v *Verifier) Verify(ctx context.Context, token string) (*AccessToken, error) { panic("TODO") }

// Middleware lets only requests pass that bear a valid token with all of the scopes.
func (v *Verifier) Middleware(scopes ...string) func(http.Handler) http.Handler { panic("TODO") }

// FromContext returns the token that Middleware verified for the request of ctx.
func FromContext(ctx context.Context) (*AccessToken, bool) { panic("TODO") }
