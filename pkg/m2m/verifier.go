package m2m

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// VerifierConfig says which tokens an API accepts.
type VerifierConfig struct {
	// Issuer is the exact iss of the tokens: {endpoint}/oidc for Logto. Required; https, unless it is on loopback.
	Issuer string
	// Audience is the API's own resource indicator, which must be in aud. Required.
	Audience string
	// JWKSURL is where the signing keys are. Empty: the issuer's discovery document tells
	// ({Issuer}/.well-known/openid-configuration).
	JWKSURL string
	// Algorithms are the signature algorithms accepted. Empty: ES384, which Logto signs with by default.
	// Only asymmetric ones can be named.
	Algorithms []string
	// Leeway is how far the clocks may differ. Zero: 30 seconds; negative: none.
	Leeway time.Duration
	// RefetchInterval is the least time between two fetches of the keys because of an unknown kid. Zero: 1 minute; at
	// most 24 hours.
	RefetchInterval time.Duration
	// HTTPClient fetches discovery document and keys; its redirects are followed within one origin only. Nil: a client
	// of its own over NewBase. A fetch is given up after 5 seconds in any case.
	HTTPClient *http.Client
	// Log gets a warning for each fetch of the keys that failed, at most one in 10 seconds: the answers of Middleware
	// don't tell the caller why. Nil: slog.Default().
	Log *slog.Logger
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Verifier checks access tokens for the API that receives them. It is safe for concurrent use, and one value should
// live as long as the process: it holds the issuer's keys.
//
// The keys are fetched when the first token needs them, when a token names a key (kid) that is not among them, and
// when they are more than 24 hours old. A fetch is shared by all who wait for it. After a good fetch the next one for
// an unknown kid waits for RefetchInterval; after a bad one for at most 10 seconds. While the issuer cannot be
// reached, the keys at hand keep working for 7 days after they were fetched.
type Verifier struct {
	issuer     string
	audience   string
	algorithms []jose.SignatureAlgorithm
	leeway     time.Duration
	now        func() time.Time
	keys       *keySet
}

// maxToken is the longest token, in bytes, that is looked at: Logto's own server takes no more than 16 kB of headers.
const maxToken = 16 << 10

// NewVerifier makes a Verifier. It fetches nothing yet. Its error names the field of c that is wrong.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	if err := checkKeyURL(c.Issuer); err != nil {
		return nil, fmt.Errorf("VerifierConfig.Issuer %q: %w", c.Issuer, err)
	}
	if c.Audience == "" {
		return nil, errors.New("VerifierConfig.Audience is empty: set it to the API's resource indicator")
	}
	if c.JWKSURL != "" {
		if err := checkKeyURL(c.JWKSURL); err != nil {
			return nil, fmt.Errorf("VerifierConfig.JWKSURL %q: %w", c.JWKSURL, err)
		}
	}
	algorithms, err := signatureAlgorithms(c.Algorithms)
	if err != nil {
		return nil, err
	}
	v := &Verifier{issuer: c.Issuer, audience: c.Audience, algorithms: algorithms, leeway: c.Leeway, now: c.Now}
	switch {
	case v.leeway == 0:
		v.leeway = 30 * time.Second
	case v.leeway < 0:
		v.leeway = 0
	}
	if v.now == nil {
		v.now = time.Now
	}
	interval := c.RefetchInterval
	if interval <= 0 {
		interval = time.Minute
	}
	log := c.Log
	if log == nil {
		log = slog.Default()
	}
	f := newKeyFetcher(c.HTTPClient, c.Issuer, c.JWKSURL, algorithms)
	v.keys = &keySet{
		fetch:    f.fetch,
		now:      v.now,
		interval: min(interval, keysMaxAge),
		log:      log.With("issuer", c.Issuer),
	}
	return v, nil
}

// signatureAlgorithms checks the names of algorithms. What is signed with a shared secret, or not at all, is refused:
// a public key would then do as the secret.
func signatureAlgorithms(names []string) ([]jose.SignatureAlgorithm, error) {
	if len(names) == 0 {
		return []jose.SignatureAlgorithm{jose.ES384}, nil
	}
	known := []jose.SignatureAlgorithm{
		jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
	var algorithms []jose.SignatureAlgorithm
	for _, name := range names {
		if !slices.Contains(known, jose.SignatureAlgorithm(name)) {
			return nil, fmt.Errorf("VerifierConfig.Algorithms: %q is not one of %v", name, known)
		}
		algorithms = append(algorithms, jose.SignatureAlgorithm(name))
	}
	return algorithms, nil
}

// checkKeyURL refuses an address that keys may not come from: who can change them on their way can sign anything.
func checkKeyURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return errors.New("is empty")
	case err != nil || u.Host == "":
		return errors.New("is not an absolute https URL")
	case u.User != nil || u.Fragment != "":
		return errors.New("must have neither user information nor a fragment")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must be https, unless it is on loopback")
}

// AccessToken is a verified token.
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

// Verify checks a token's signature and claims as RFC 9068 section 4 says: a JWT whose typ is at+jwt, signed by one of
// the issuer's keys with one of the accepted algorithms, with the issuer as iss, the API among aud, and not expired.
//
// The error matches ErrInvalidToken and says why, or it matches ErrKeysUnavailable: the token could not be judged.
// It never contains the token. ctx ends the wait for the keys of this call alone.
func (v *Verifier) Verify(ctx context.Context, token string) (*AccessToken, error) {
	signed, err := v.parse(token)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Protected
	id := keyID{kid: header.KeyID, algorithm: jose.SignatureAlgorithm(header.Algorithm)}
	key, err := v.keys.key(ctx, id)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, invalidToken("it is signed with a key that %s does not have; get the token there", v.issuer)
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return nil, invalidToken("its signature is wrong")
	}
	var c claims
	// This JSON package refuses an object with the same key twice, which others read in different ways.
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, invalidToken("its claims are not those of RFC 9068")
	}
	if err := v.check(&c); err != nil {
		return nil, err
	}
	return &AccessToken{
		ID:             c.ID,
		Issuer:         c.Issuer,
		Subject:        c.Subject,
		ClientID:       c.ClientID,
		Audience:       c.Audience,
		Scopes:         strings.Fields(c.Scope),
		OrganizationID: c.OrganizationID,
		IssuedAt:       c.IssuedAt.Time(),
		Expiry:         c.Expiry.Time(),
	}, nil
}

// parse reads a token whose header this API can accept. Nothing in it is verified yet.
func (v *Verifier) parse(token string) (*jose.JSONWebSignature, error) {
	if len(token) > maxToken {
		return nil, invalidToken("it is longer than %d bytes", maxToken)
	}
	// Go's base64 passes over line breaks; two spellings of one token are one too many.
	if strings.Trim(token, base64URL+".") != "" {
		return nil, invalidToken("it is not a signed JWT")
	}
	signed, err := jose.ParseSignedCompact(token, v.algorithms)
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &algorithm):
		return nil, invalidToken("its signature algorithm is not one of %v", v.algorithms)
	case err != nil:
		return nil, invalidToken("it is not a signed JWT")
	}
	header := signed.Signatures[0].Protected
	// Keys come from the issuer alone, never from the token; and no extension is understood (RFC 7515 section 4.1.11).
	for _, name := range []jose.HeaderKey{"jku", "jwk", "x5u", "x5c", "crit", "b64"} {
		if _, ok := header.ExtraHeaders[name]; ok {
			return nil, invalidToken("its header has %q, which this API does not accept", name)
		}
	}
	if header.JSONWebKey != nil {
		return nil, invalidToken("its header has %q, which this API does not accept", "jwk")
	}
	// RFC 9068 section 4. It keeps id tokens out, which the same keys sign.
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if t := strings.ToLower(typ); t != "at+jwt" && t != "application/at+jwt" {
		return nil, invalidToken("its typ is not at+jwt: it is not an access token")
	}
	if header.KeyID == "" {
		return nil, invalidToken("its header has no kid")
	}
	return signed, nil
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// check judges claims that the issuer's key has signed.
func (v *Verifier) check(c *claims) error {
	now := v.now()
	switch {
	case c.Issuer != v.issuer:
		return invalidToken("its issuer is not %s: get it from that tenant's own endpoint", v.issuer)
	case !c.Audience.Contains(v.audience):
		return invalidToken("it is not for %s: ask the token endpoint for that resource", v.audience)
	case c.Expiry == nil:
		return invalidToken("it has no exp")
	case !now.Before(c.Expiry.Time().Add(v.leeway)):
		return invalidToken("it expired at %s", c.Expiry.Time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && now.Add(v.leeway).Before(c.NotBefore.Time()):
		return invalidToken("it is not valid before %s", c.NotBefore.Time().UTC().Format(time.RFC3339))
	}
	return nil
}
