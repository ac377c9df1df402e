package m2m

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxKeyDocument bounds the discovery document and the keys, in bytes. Logto's are 2.2 kB and 0.3 kB.
const maxKeyDocument = 512 << 10

// keyFetcher fetches an issuer's keys.
type keyFetcher struct {
	client     *http.Client
	issuer     string
	jwksURL    string // empty: discovery
	algorithms []jose.SignatureAlgorithm
}

func newKeyFetcher(client *http.Client, issuer, jwksURL string, algorithms []jose.SignatureAlgorithm) *keyFetcher {
	var c http.Client
	if client == nil {
		c.Transport = NewBase()
	} else {
		c = *client
	}
	c.CheckRedirect = withinOrigin
	return &keyFetcher{client: &c, issuer: issuer, jwksURL: jwksURL, algorithms: algorithms}
}

// withinOrigin follows few redirects, and none that leads elsewhere: the keys would be another's.
func withinOrigin(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return errors.New("redirected to another origin")
	}
	if len(via) > 3 {
		return errors.New("redirected too often")
	}
	return nil
}

// fetch returns the keys that can verify a signature with one of the accepted algorithms. Where the keys are is asked
// anew each time: it is rare, and the address may change.
func (f *keyFetcher) fetch(ctx context.Context) (map[keyID]*publicKey, error) {
	address := f.jwksURL
	if address == "" {
		var err error
		if address, err = f.discover(ctx); err != nil {
			return nil, err
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := f.get(ctx, address, &set); err != nil {
		return nil, err
	}
	keys := f.usable(set.Keys)
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key for %v: set VerifierConfig.Algorithms to what the issuer signs with",
			address, f.algorithms)
	}
	return keys, nil
}

// discover returns jwks_uri of the discovery document (OpenID Connect Discovery 1.0 section 4).
func (f *keyFetcher) discover(ctx context.Context) (string, error) {
	address := strings.TrimSuffix(f.issuer, "/") + "/.well-known/openid-configuration"
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := f.get(ctx, address, &document); err != nil {
		return "", err
	}
	if document.Issuer != f.issuer {
		// As section 4.3 demands: otherwise one issuer could speak for another.
		return "", fmt.Errorf("%s is of issuer %.200q, not %s: set VerifierConfig.Issuer to the one whose tokens the API gets",
			address, document.Issuer, f.issuer)
	}
	if err := checkKeyURL(document.JWKSURI); err != nil {
		return "", fmt.Errorf("jwks_uri of %s: %w", address, err)
	}
	return document.JWKSURI, nil
}

func (f *keyFetcher) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", address, err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetching %s: status %d", address, resp.StatusCode)
	}
	body, err := readLimited(resp.Body, maxKeyDocument)
	if err != nil {
		return fmt.Errorf("reading %s: %w", address, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading %s: it is not the JSON expected", address)
	}
	return nil
}

// usable picks the keys that can be used. The others are passed over, as RFC 7517 section 5 says; a kid that two of
// them share is no name of either.
func (f *keyFetcher) usable(raw []json.RawMessage) map[keyID]*publicKey {
	keys := make(map[keyID]*publicKey)
	var shared []keyID
	for _, r := range raw {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(r); err != nil || key.KeyID == "" || key.Use != "" && key.Use != "sig" {
			continue
		}
		for _, algorithm := range f.algorithms {
			if !fits(&key, algorithm) {
				continue
			}
			id := keyID{kid: key.KeyID, algorithm: algorithm}
			if _, ok := keys[id]; ok {
				shared = append(shared, id)
			}
			keys[id] = &publicKey{key.Key}
		}
	}
	for _, id := range shared {
		delete(keys, id)
	}
	return keys
}

// fits tells whether a key is a public one of the algorithm: by its alg if it has one, and by its type and curve in any
// case.
func fits(key *jose.JSONWebKey, algorithm jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(algorithm) {
		return false
	}
	switch k := key.Key.(type) {
	case *ecdsa.PublicKey:
		// The curve belongs to the algorithm: RFC 7518 section 3.4.
		curves := map[jose.SignatureAlgorithm]string{jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521"}
		return curves[algorithm] == k.Curve.Params().Name
	case *rsa.PublicKey:
		rsas := []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
		return slices.Contains(rsas, algorithm) && k.N.BitLen() >= 2048 // RFC 7518 section 3.3
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	}
	return false
}
