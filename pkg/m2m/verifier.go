package m2m

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// VerifierConfig says which tokens an API accepts.
type VerifierConfig struct {
	// Issuer is the exact iss of the tokens: {endpoint}/oidc for Logto, where endpoint is the address that they are got at: with a
	// custom domain of Logto Cloud, https://auth.example.com/oidc. Required; https, unless it is on loopback.
	Issuer string
	// Audience is the API's own resource indicator, which must be in aud. Required, unless OrganizationTokens is set.
	Audience string
	// OrganizationTokens accepts Logto's organization tokens as well, of any organization: aud is
	// urn:logto:organization:{id}, and AccessToken.OrganizationID is that id. An API for one organization gives that urn as
	// its Audience instead.
	OrganizationTokens bool
	// Check is asked about each token that is good otherwise, for rules of your own. Its error refuses the token, and is told to
	// the caller. Nil: no further rules.
	Check func(context.Context, *AccessToken) error
	// Remember is how many verified tokens are remembered by their hash, so that the next request with one costs no
	// signature. A token that was remembered is still judged by its times, by Check, and by whether the issuer has its key.
	// Zero: none.
	Remember int
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
	issuer        string
	audience      string
	organizations bool
	algorithms    []jose.SignatureAlgorithm
	leeway        time.Duration
	rule          func(context.Context, *AccessToken) error
	now           func() time.Time
	keys          *keySet
	remembered    *remembered // nil: none
}

// maxToken is the longest token, in bytes, that is looked at: Logto's own server takes no more than 16 kB of headers.
const maxToken = 16 << 10

// NewVerifier makes a Verifier. It fetches nothing yet. Its error names the field of c that is wrong.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	if err := checkKeyURL(c.Issuer); err != nil {
		return nil, fmt.Errorf("VerifierConfig.Issuer %q: %w", c.Issuer, err)
	}
	if c.Audience == "" && !c.OrganizationTokens {
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
	v := &Verifier{
		issuer: c.Issuer, audience: c.Audience, organizations: c.OrganizationTokens, algorithms: algorithms, leeway: c.Leeway,
		rule: c.Check, now: c.Now,
	}
	if c.Remember > 0 {
		v.remembered = newRemembered(c.Remember)
	}
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

// Verify checks a token's signature and claims as RFC 9068 section 4 says: a JWT whose typ is at+jwt, signed by one of
// the issuer's keys with one of the accepted algorithms, with the issuer as iss, the API among aud, and not expired.
//
// The error matches ErrInvalidToken and says why, or it matches ErrKeysUnavailable: the token could not be judged.
// It never contains the token. ctx ends the wait for the keys of this call alone.
func (v *Verifier) Verify(ctx context.Context, token string) (*AccessToken, error) {
	if len(token) > maxToken {
		return nil, invalidToken("it is longer than %d bytes", maxToken)
	}
	t, err := v.authentic(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := v.checkTimes(t); err != nil {
		return nil, err
	}
	if v.rule != nil {
		if err := v.rule(ctx, t); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidToken, err)
		}
	}
	return t, nil
}

// authentic returns a token that the issuer signed for this API. It may have expired.
func (v *Verifier) authentic(ctx context.Context, token string) (*AccessToken, error) {
	if v.remembered == nil {
		t, _, err := v.authenticate(ctx, token)
		return t, err
	}
	digest := sha256.Sum256([]byte(token))
	if known := v.remembered.get(digest); known.token != nil {
		// Fetches the keys when it is time, and finds another or none when the issuer has given up this one.
		if key, err := v.keys.key(ctx, known.id); err == nil && key == known.key {
			return known.token, nil
		}
	}
	t, by, err := v.authenticate(ctx, token)
	if err == nil {
		v.remembered.put(digest, verified{t, by.id, by.key})
	}
	return t, err
}

// signer is the key that signed a token.
type signer struct {
	id  keyID
	key *publicKey
}

// authenticate checks a token's signature, and its claims but for the times.
func (v *Verifier) authenticate(ctx context.Context, token string) (*AccessToken, signer, error) {
	signed, err := v.parse(token)
	if err != nil {
		return nil, signer{}, err
	}
	header := signed.Signatures[0].Protected
	by := signer{id: keyID{kid: header.KeyID, algorithm: jose.SignatureAlgorithm(header.Algorithm)}}
	if by.key, err = v.keys.key(ctx, by.id); err != nil {
		return nil, signer{}, err
	}
	if by.key == nil {
		return nil, signer{}, invalidToken("it is signed with a key that %s does not have; get the token there", v.issuer)
	}
	payload, err := signed.Verify(by.key.key)
	if err != nil {
		return nil, signer{}, invalidToken("its signature is wrong")
	}
	t, err := v.read(payload)
	return t, by, err
}

// accepts is what a token must be for.
func (v *Verifier) accepts() string {
	switch {
	case !v.organizations:
		return v.audience
	case v.audience == "":
		return "an organization"
	}
	return v.audience + " or an organization"
}

// parse reads a token whose header this API can accept. Nothing in it is verified yet.
func (v *Verifier) parse(token string) (*jose.JSONWebSignature, error) {
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
