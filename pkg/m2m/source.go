package m2m

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
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
	// Cache shares tokens with other environments. Nil: each gets its own.
	Cache TokenCache
	// Log gets a warning when the Cache fails, since tokens come all the same. Nil: slog.Default().
	Log *slog.Logger
	// HTTPClient sends the token requests; it follows no redirect. Nil: a client of its own over NewBase.
	HTTPClient *http.Client
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Source gets access tokens by client_credentials and keeps them. Make one for each app and resource and let it live as
// long as the process. It is safe for concurrent use.
type Source struct {
	config Config
	client *http.Client

	kept        atomic.Pointer[kept]
	dropped     atomic.Pointer[string] // the token that was dropped last, not to be taken from the cache again
	credentials atomic.Pointer[Credentials]
	readAt      atomic.Int64  // when they were read, on the wall clock, in Unix nanoseconds
	reading     chan struct{} // held by whoever reads the credentials

	mu       sync.Mutex
	flight   *flight   // the one under way, if any
	failed   error     // what the last flight failed with
	failedAt time.Time // on the wall clock

	tokens, tokenRequests, secretReads, cacheHits, cacheFailures atomic.Int64
}

// kept is a token and until when it may be used, on both clocks.
type kept struct {
	token *oauth2.Token
	// Until fresh it is handed out without a thought, until usable while the next one is fetched. These have the
	// monotonic clock's reading.
	fresh, usable time.Time
	// The same on the wall clock, in Unix seconds.
	freshWall, usableWall int64
	// When it was asked for, with the monotonic clock's reading, and on the wall clock.
	asked, askedWall time.Time
}

// keep makes a kept of a token that was asked for at these times and lives so long.
func keep(token *oauth2.Token, asked, askedWall time.Time, lifetime time.Duration) *kept {
	// The way to the API takes time, and clocks differ a little.
	usable := lifetime - min(10*time.Second, lifetime/10)
	fresh := usable - min(5*time.Minute, lifetime/5)
	return &kept{
		token:      token,
		fresh:      asked.Add(fresh),
		usable:     asked.Add(usable),
		freshWall:  askedWall.Add(fresh).Unix(),
		usableWall: askedWall.Add(usable).Unix(),
		asked:      asked,
		askedWall:  askedWall,
	}
}

// NewSource makes a Source. It sends nothing yet. Its error names the field of c that is wrong.
func NewSource(c Config) (*Source, error) {
	if c.Credentials == nil {
		return nil, errors.New("m2m: Config.Credentials is missing")
	}
	if c.Resource == "" && c.ResourceOf == nil && c.OrganizationID == "" {
		return nil, errors.New("m2m: Config.Resource is missing: Logto gives no token without a resource or an organization")
	}
	if c.TokenURL != "" {
		u, err := url.Parse(c.TokenURL)
		if err != nil || u.Host == "" || u.User != nil {
			return nil, errors.New("m2m: Config.TokenURL is not an address of the form https://host/path")
		}
		if err := checkSecure(u); err != nil {
			return nil, fmt.Errorf("m2m: Config.TokenURL: %w", err)
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	client := http.Client{Transport: NewBase()}
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	// A redirect would carry the secret along.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Source{config: c, client: &client, reading: make(chan struct{}, 1)}, nil
}

// Token returns a valid token: the one at hand, or a new one if there is none. The token is shared and must not be
// changed. It waits no longer than ctx allows; the request goes on without it for the others. Errors: *TokenError for
// what the token endpoint refuses, *ScopeError for scopes that were not granted, otherwise what kept the request from
// an answer, or the provider's error.
func (s *Source) Token(ctx context.Context) (*oauth2.Token, error) {
	// The same as isFresh, written out: every request passes here, and a call would cost a tenth of it.
	now := time.Now()
	if k := s.kept.Load(); k != nil && now.Before(k.fresh) {
		wall := now.Unix()
		if s.config.Now != nil {
			wall = s.config.Now().Unix()
		}
		if wall < k.freshWall {
			return k.token, nil
		}
	}
	return s.renew(ctx)
}

// isFresh tells whether k is to be handed out without a thought. In an environment that was frozen either clock may
// have stood still, so both must say so; one reading of time.Now has both.
func (s *Source) isFresh(k *kept) bool {
	return k != nil && time.Now().Before(k.fresh) && s.now().Unix() < k.freshWall
}

// isUsable tells whether k is valid still.
func (s *Source) isUsable(k *kept) bool {
	return k != nil && time.Now().Before(k.usable) && s.now().Unix() < k.usableWall
}

// now is the wall clock without the monotonic reading.
func (s *Source) now() time.Time {
	if s.config.Now != nil {
		return s.config.Now().Round(0)
	}
	return time.Now().Round(0)
}

// Invalidate drops the given access token if it is the one kept, so that the next Token gets another. That one takes its
// place in the Cache, too, for all who share it. Transport calls it when an API answers 401.
func (s *Source) Invalidate(accessToken string) {
	if k := s.kept.Load(); k != nil && k.token.AccessToken == accessToken {
		s.dropped.Store(&accessToken)
		s.kept.CompareAndSwap(k, nil)
	}
}

// age tells how old the given token is, by the clock that says more, if it is the one kept.
func (s *Source) age(accessToken string) (time.Duration, bool) {
	k := s.kept.Load()
	if k == nil || k.token.AccessToken != accessToken {
		return 0, false
	}
	return max(time.Since(k.asked), s.now().Sub(k.askedWall)), true
}

// TokenSource adapts s to oauth2.TokenSource for libraries that take one; its Token waits no longer than ctx allows.
func (s *Source) TokenSource(ctx context.Context) oauth2.TokenSource { return tokenSource{ctx, s} }

type tokenSource struct {
	ctx    context.Context
	source *Source
}

func (t tokenSource) Token() (*oauth2.Token, error) { return t.source.Token(t.ctx) }

// Endpoint returns the endpoint of the credentials, reading them if that was not done yet.
func (s *Source) Endpoint(ctx context.Context) (string, error) {
	c, err := s.knownCredentials(ctx)
	if err != nil {
		return "", err
	}
	return c.Endpoint, nil
}

// knownCredentials returns the credentials read before, or reads them.
func (s *Source) knownCredentials(ctx context.Context) (*Credentials, error) {
	if c := s.credentials.Load(); c != nil {
		return c, nil
	}
	return s.readCredentials(ctx, nil)
}

// readCredentials reads the credentials anew, unless somebody else has done so since they were old.
func (s *Source) readCredentials(ctx context.Context, old *Credentials) (*Credentials, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return nil, fmt.Errorf("reading the app's credentials: %w", ctx.Err())
	}
	if c := s.credentials.Load(); c != old {
		return c, nil
	}
	s.secretReads.Add(1)
	c, err := s.config.Credentials.Credentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the app's credentials: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("the app's credentials: %w", err)
	}
	s.readAt.Store(s.now().UnixNano())
	s.credentials.Store(&c)
	return &c, nil
}

// resource is what the token is for.
func (s *Source) resource(c *Credentials) string {
	if s.config.Resource == "" && s.config.ResourceOf != nil {
		return s.config.ResourceOf(c.Endpoint)
	}
	return s.config.Resource
}

// tokenURL is where the token comes from.
func (s *Source) tokenURL(c *Credentials) string {
	if s.config.TokenURL != "" {
		return s.config.TokenURL
	}
	return c.Endpoint + "/oidc/token"
}

// Stats are counts since a Source was made.
type Stats struct {
	Tokens        int64 // tokens got: each counts against the tenant's quota
	TokenRequests int64 // requests sent to the token endpoint, failed ones included
	SecretReads   int64 // reads of the credentials
	CacheHits     int64 // tokens taken from the Cache, which cost nothing
	CacheFailures int64 // what the Cache could not do, and what it had that did not open
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	return Stats{s.tokens.Load(), s.tokenRequests.Load(), s.secretReads.Load(), s.cacheHits.Load(), s.cacheFailures.Load()}
}
