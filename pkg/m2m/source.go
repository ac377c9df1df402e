// Package m2m gets, keeps, sends and verifies access tokens of applications.
package m2m

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// Config says which token a Source gets.
type Config struct {
	// Credentials provides the app id and secret. Required.
	Credentials CredentialsProvider
	// Resource is the indicator of the API that the token is for, exactly as Logto knows it (RFC 8707).
	Resource string
	// ResourceOf derives the resource from the credentials' endpoint where Resource is empty:
	// logto.ManagementResource does it for the Management API.
	ResourceOf func(endpoint string) string
	// Scopes are asked for, and every one must be granted, or Token fails with a *ScopeError.
	Scopes []string
	// OrganizationID asks for a token of one organization. Empty: none.
	OrganizationID string
	// TokenURL is the whole token endpoint of an authorization server other than Logto. Empty: {endpoint}/oidc/token.
	TokenURL string
	// HTTPClient sends the token requests. Nil: a client of its own over NewBase.
	HTTPClient *http.Client
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Source gets access tokens and keeps them.
type Source struct{}

// NewSource makes a Source. It sends nothing yet.
func NewSource(c Config) (*Source, error) { panic("TODO") }

// Token returns a valid token. The token is shared and must not be changed.
func (s *Source) Token(ctx context.Context) (*oauth2.Token, error) { panic("TODO") }

// TokenSource adapts s to oauth2.TokenSource; every Token call uses ctx.
func (s *Source) TokenSource(ctx context.Context) oauth2.TokenSource { panic("TODO") }

// Invalidate drops the given access token if it is the one kept, so that the next Token gets another.
func (s *Source) Invalidate(accessToken string) { panic("TODO") }

// Endpoint returns the endpoint of the credentials, reading them if that was not done yet.
func (s *Source) Endpoint(ctx context.Context) (string, error) { panic("TODO") }

// Wait returns when no token request is in flight, or ctx ends. A handler calls it before it answers, because the
// environment may be frozen right after.
func (s *Source) Wait(ctx context.Context) { panic("TODO") }

// Stats are counts since the Source was made.
type Stats struct {
	Tokens        int64 // tokens got: each counts against the tenant's quota
	TokenRequests int64 // requests sent to the token endpoint, failed ones included
	SecretReads   int64 // reads of the credentials
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats { panic("TODO") }
