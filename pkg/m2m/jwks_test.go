package m2m_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func wantVerified(t *testing.T, v *m2m.Verifier, token string) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func wantRefused(t *testing.T, v *m2m.Verifier, token string, target error) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, target) {
		t.Errorf("Verify: %v, want %v", err, target)
	}
}

func (is *issuer) wantFetches(t *testing.T, want int64) {
	t.Helper()
	if got := is.fetches.Load(); got != want {
		t.Errorf("the keys were fetched %d times, want %d", got, want)
	}
}

func TestKeysAreFetchedOnceForManyCallers(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, nil)
	token := is.token(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { wantVerified(t, v, token) })
	}
	wg.Wait()
	is.wantFetches(t, 1)
}

func TestACallerThatGivesUpDoesNotEndTheFetchForOthers(t *testing.T) {
	is := newIssuer(t)
	asked, release := make(chan struct{}), make(chan struct{})
	is.answerKeys(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		writeJSON(t, w, is.jwks())
	})
	v := is.verifier(t, nil)
	token := is.token(t, nil)

	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := v.Verify(ctx, token)
		first <- err
	}()
	<-asked
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, m2m.ErrKeysUnavailable) {
		t.Errorf("the caller that gave up got %v", err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := v.Verify(t.Context(), token)
		second <- err
	}()
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the caller that waited got %v", err)
	}
	is.wantFetches(t, 1)
}

func TestUnknownKidsDoNotFetchMoreOftenThanTheInterval(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.RefetchInterval = time.Minute })
	good := is.token(t, nil)
	wantVerified(t, v, good)
	flood := func() {
		t.Helper()
		for range 200 {
			wantRefused(t, v, is.key.sign(t, tokenHeader("key-unknown"), is.claims(nil)), m2m.ErrInvalidToken)
		}
		wantVerified(t, v, good)
	}
	flood()
	is.wantFetches(t, 1)
	is.clock.Add(time.Minute)
	flood()
	is.wantFetches(t, 2)
}

func TestRotatedKeysAreFound(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, nil)
	old := is.token(t, nil)
	wantVerified(t, v, old)

	next := newECKey(t, "key-2", jose.ES384, elliptic.P384())
	is.publish(is.key, next)
	is.clock.Add(time.Minute)
	wantVerified(t, v, next.sign(t, tokenHeader("key-2"), is.claims(nil)))
	wantVerified(t, v, old)
	is.wantFetches(t, 2)

	// Without overlap: what the old keys signed is refused as soon as the new ones are fetched.
	last := newECKey(t, "key-3", jose.ES384, elliptic.P384())
	is.publish(last)
	is.clock.Add(time.Minute)
	wantVerified(t, v, last.sign(t, tokenHeader("key-3"), is.claims(nil)))
	wantRefused(t, v, is.token(t, nil), m2m.ErrInvalidToken)
}

func TestWithoutKeysATokenCannotBeJudged(t *testing.T) {
	is := newIssuer(t)
	is.answerKeys(func(w http.ResponseWriter, _ *http.Request) {
		is.clock.Add(4 * time.Second)
		w.WriteHeader(http.StatusBadGateway)
	})
	v := is.verifier(t, nil)
	token := is.token(t, nil)
	for range 20 {
		wantRefused(t, v, token, m2m.ErrKeysUnavailable)
	}
	is.answerKeys(nil)
	is.clock.Add(10*time.Second - 1)
	wantRefused(t, v, token, m2m.ErrKeysUnavailable)
	is.wantFetches(t, 1) // a failed fetch counts, too, from when it failed
	is.clock.Add(1)
	wantVerified(t, v, token)
}

func TestKnownKeysWorkForAWeekWhileTheIssuerIsDown(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, nil)
	wantVerified(t, v, is.token(t, nil))
	is.answerDiscovery(answerStatus(http.StatusServiceUnavailable))
	is.clock.Add(7*24*time.Hour - time.Second)
	wantVerified(t, v, is.token(t, nil))
	wantRefused(t, v, is.key.sign(t, tokenHeader("key-2"), is.claims(nil)), m2m.ErrKeysUnavailable)
	is.clock.Add(time.Second)
	wantRefused(t, v, is.token(t, nil), m2m.ErrKeysUnavailable)
}

func TestARemovedKeyIsRefusedAfterADay(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, nil)
	wantVerified(t, v, is.token(t, nil))
	is.publish(newECKey(t, "key-2", jose.ES384, elliptic.P384()))
	is.clock.Add(24*time.Hour - time.Second)
	wantVerified(t, v, is.token(t, nil))
	is.clock.Add(time.Second)
	wantRefused(t, v, is.token(t, nil), m2m.ErrInvalidToken)
	is.wantFetches(t, 2)
}

func TestAnIssuerThatHangsSlowsOneCallerOnly(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, nil)
	wantVerified(t, v, is.token(t, nil))
	asked, release := make(chan struct{}), make(chan struct{})
	is.answerKeys(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		w.WriteHeader(http.StatusBadGateway)
	})
	is.clock.Add(25 * time.Hour)
	token := is.token(t, nil)
	first := make(chan error, 1)
	go func() {
		_, err := v.Verify(t.Context(), token)
		first <- err
	}()
	<-asked
	wantVerified(t, v, token) // returns while the fetch hangs
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the caller that waited: %v", err)
	}
}

func TestAFetchThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := &issuer{URL: "https://tenant.example/oidc", clock: newClock()}
		is.key = newECKey(t, "key-1", jose.ES384, elliptic.P384())
		is.client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		v := is.verifier(t, nil)
		start := time.Now()
		wantRefused(t, v, is.token(t, nil), m2m.ErrKeysUnavailable)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("gave up after %v, want 5s", took)
		}
	})
}

func TestAFetchCaughtInAFrozenEnvironmentIsReplaced(t *testing.T) {
	is := newIssuer(t)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	is.answerKeys(func(w http.ResponseWriter, _ *http.Request) {
		close(frozen)
		<-thaw
		w.WriteHeader(http.StatusBadGateway)
	})
	t.Cleanup(func() { close(thaw) })
	v := is.verifier(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := v.Verify(ctx, is.token(t, nil))
		first <- err
	}()
	<-frozen
	is.answerKeys(nil)
	is.clock.Add(3 * time.Hour)
	wantVerified(t, v, is.token(t, nil))
	cancel()
	<-first
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestKeysThatCannotBeUsedArePassedOver(t *testing.T) {
	is := newIssuer(t)
	other := newECKey(t, "twice", jose.ES384, elliptic.P384())
	is.answerKeys(func(w http.ResponseWriter, _ *http.Request) {
		good := jose.JSONWebKey{Key: is.key.private.Public(), KeyID: "key-1"}
		writeJSON(t, w, map[string]any{"keys": []any{
			map[string]string{"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
			map[string]string{"kty": "PQ-of-the-future", "kid": "next"},
			"not a key",
			jose.JSONWebKey{Key: other.private, KeyID: "private"},
			jose.JSONWebKey{Key: other.private.Public(), KeyID: "encrypts", Use: "enc"},
			jose.JSONWebKey{Key: other.private.Public(), KeyID: "twice"},
			jose.JSONWebKey{Key: is.key.private.Public(), KeyID: "twice"},
			good,
		}})
	})
	v := is.verifier(t, nil)
	wantVerified(t, v, is.token(t, nil))
	for _, kid := range []string{"private", "encrypts", "twice"} {
		wantRefused(t, v, other.sign(t, tokenHeader(kid), is.claims(nil)), m2m.ErrInvalidToken)
	}
	wantRefused(t, v, is.key.sign(t, tokenHeader("twice"), is.claims(nil)), m2m.ErrInvalidToken)
}

// Each case is a way in which keys cannot be had, and what the operator reads.
func TestAFailedFetchSaysWhy(t *testing.T) {
	elsewhere := newIssuer(t)
	for name, tc := range map[string]struct {
		setUp func(is *issuer)
		want  string
	}{
		"discovery of another issuer": {func(is *issuer) {
			is.answerDiscovery(func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(t, w, map[string]string{"issuer": "https://auth.shop.example/oidc", "jwks_uri": is.URL + "/jwks"})
			})
		}, `is of issuer "https://auth.shop.example/oidc"`},
		"keys in the clear": {func(is *issuer) {
			is.answerDiscovery(func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(t, w, map[string]string{"issuer": is.URL, "jwks_uri": "http://tenant.example/jwks"})
			})
		}, "must be https"},
		"a redirect elsewhere": {func(is *issuer) {
			is.answerKeys(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+"/jwks", http.StatusFound)
			})
		}, "redirected to another origin"},
		"a redirect in a circle": {func(is *issuer) {
			is.answerKeys(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/oidc/jwks", http.StatusFound) })
		}, "redirected too often"},
		"no JSON": {func(is *issuer) {
			is.answerKeys(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
		}, "not the JSON expected"},
		"an answer without end": {func(is *issuer) {
			is.answerKeys(func(w http.ResponseWriter, _ *http.Request) {
				for range 1 << 20 {
					if _, err := io.WriteString(w, strings.Repeat(" ", 1<<10)); err != nil {
						return
					}
				}
			})
		}, "more than 524288 bytes"},
		"no key of the algorithm": {func(is *issuer) { is.publish(newECKey(t, "key-1", jose.ES256, elliptic.P256())) },
			"set VerifierConfig.Algorithms"},
		"no such page": {func(is *issuer) { is.answerDiscovery(answerStatus(http.StatusNotFound)) }, "status 404"},
	} {
		t.Run(name, func(t *testing.T) {
			is := newIssuer(t)
			tc.setUp(is)
			_, err := is.verifier(t, nil).Verify(t.Context(), is.token(t, nil))
			if !errors.Is(err, m2m.ErrKeysUnavailable) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Verify: %v, want ErrKeysUnavailable with %q", err, tc.want)
			}
		})
	}
	elsewhere.wantFetches(t, 0)
}

func TestAKeyAddressThatIsGivenNeedsNoDiscovery(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.JWKSURL = is.URL + "/jwks" })
	wantVerified(t, v, is.token(t, nil))
	if n := is.discoveries.Load(); n != 0 {
		t.Errorf("%d discoveries", n)
	}
}

func TestAVerifierHasAClientOfItsOwn(t *testing.T) {
	is := newIssuer(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // so that the client keeps no connection after the test
		writeJSON(t, w, is.jwks())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.HTTPClient, c.JWKSURL = nil, server.URL+"/jwks" })
	wantVerified(t, v, is.token(t, nil))
}

func TestATenantsRotationIsFollowed(t *testing.T) {
	tenant := logtotest.New(t)
	clock := newClock()
	v, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer: tenant.Issuer(), Audience: shopAPI, HTTPClient: tenant.Client(), Now: clock.Now, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	token := func() string {
		return tenant.Sign(nil, map[string]any{"iss": tenant.Issuer(), "aud": shopAPI, "exp": clock.Now().Unix() + 600})
	}
	first := token()
	wantVerified(t, v, first)
	for _, keepOld := range []bool{true, false} {
		tenant.RotateKeys(keepOld)
		clock.Add(time.Minute)
		wantVerified(t, v, token())
	}
	wantRefused(t, v, first, m2m.ErrInvalidToken)
	if got := tenant.Requests("GET /oidc/jwks"); got != 3 {
		t.Errorf("the keys were fetched %d times, want 3", got)
	}
}
