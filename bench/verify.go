package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// verifyToken compares Verify with the JOSE library's own: parse, check the signature, unmarshal the claims, and look at them.
func verifyToken(ctx context.Context) ([]result, error) {
	tenant, source, closeAll, err := newSource(nil)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	token, err := source.Token(ctx)
	if err != nil {
		return nil, err
	}
	base := m2m.NewBase()
	defer base.CloseIdleConnections()
	verifier := func(remember int) (*m2m.Verifier, error) {
		v, err := m2m.NewVerifier(m2m.VerifierConfig{
			Issuer: tenant.Issuer(), Audience: resource, HTTPClient: &http.Client{Transport: base}, Remember: remember,
		})
		if err == nil {
			_, err = v.Verify(ctx, token.AccessToken) // which fetches the keys
		}
		return v, err
	}
	plain, err := verifier(0)
	if err != nil {
		return nil, err
	}
	remembering, err := verifier(100)
	if err != nil {
		return nil, err
	}
	bare, err := newBare(ctx, &http.Client{Transport: base}, tenant.Issuer(), token.AccessToken)
	if err != nil {
		return nil, err
	}
	testing.Init()
	if err := flag.Set("test.benchtime", "100ms"); err != nil {
		return nil, err
	}
	var speed, remembered []float64
	for range runs {
		ours, err := checked(testing.Benchmark(func(b *testing.B) { verify(b, plain, token.AccessToken) }))
		if err != nil {
			return nil, err
		}
		theirs, err := checked(testing.Benchmark(func(b *testing.B) { bare.verify(b, token.AccessToken) }))
		if err != nil {
			return nil, err
		}
		again, err := checked(testing.Benchmark(func(b *testing.B) { verify(b, remembering, token.AccessToken) }))
		if err != nil {
			return nil, err
		}
		speed = append(speed, perOp(theirs)/perOp(ours))
		remembered = append(remembered, perOp(theirs)/perOp(again))
	}
	return []result{
		atLeast("Verifying a token, speed beside go-jose's own", "%.3fx", 0.9, median(speed)),
		atLeast("Verifying a token that is remembered, beside the same", "%.0fx", 20, median(remembered)),
	}, nil
}

func verify(b *testing.B, v *m2m.Verifier, token string) {
	ctx := context.Background()
	for range b.N {
		if _, err := v.Verify(ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

// bareVerifier is what go-jose does by itself, with the keys at hand.
type bareVerifier struct {
	key    *jose.JSONWebKey
	expect jwt.Expected
}

func newBare(ctx context.Context, client *http.Client, issuer, token string) (*bareVerifier, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/jwks", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return nil, err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES384})
	if err != nil {
		return nil, err
	}
	keys := set.Key(parsed.Headers[0].KeyID)
	if len(keys) != 1 {
		return nil, errors.New("the token's key is not in the key set")
	}
	return &bareVerifier{&keys[0], jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{resource}}}, nil
}

func (v *bareVerifier) verify(b *testing.B, token string) {
	for range b.N {
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES384})
		if err != nil {
			b.Fatal(err)
		}
		var claims struct {
			jwt.Claims
			ClientID string `json:"client_id"`
			Scope    string `json:"scope"`
		}
		if err := parsed.Claims(v.key.Key, &claims); err != nil {
			b.Fatal(err)
		}
		if err := claims.Validate(v.expect.WithTime(time.Now())); err != nil {
			b.Fatal(err)
		}
	}
}
