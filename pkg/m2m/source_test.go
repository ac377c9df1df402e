package m2m_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestATokenIsGotOnceAndKept(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		first := w.token(source)
		time.Sleep(50 * time.Minute)
		if w.token(source) != first {
			t.Error("another token within the first one's life")
		}
		w.wantRequests(tokenRoute, 1)
		if got, want := source.Stats(), (m2m.Stats{Tokens: 1, TokenRequests: 1, SecretReads: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
	})
}

func TestAHitAllocatesNothing(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		config.Now = nil
		source := w.source(config)
		w.token(source)
		ctx := w.t.Context()
		if n := testing.AllocsPerRun(100, func() { source.Token(ctx) }); n != 0 {
			t.Errorf("%v allocations a hit, want 0", n)
		}
	})
}

func TestAThousandCallersWithoutATokenCostOneRequest(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { w.token(source) })
		}
		all.Wait()
		w.wantRequests(tokenRoute, 1)
	})
}

func TestNearExpiryOneRefreshesAndNobodyWaits(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		first := w.token(source)
		time.Sleep(58 * time.Minute)
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Latency: 5 * time.Second})
		began := time.Now()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if w.token(source) != first {
					t.Error("another token before the refresh ended")
				}
				if waited := time.Since(began); waited != 0 {
					t.Errorf("a caller waited %v while the old token was valid", waited)
				}
			})
		}
		all.Wait()
		source.Wait(w.t.Context())
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("the refresh took %v", waited)
		}
		if w.token(source) == first {
			t.Error("the old token after the refresh")
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestACallerStopsWaitingByItsOwnContext(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Latency: 5 * time.Second})
		source := w.source(w.config())
		impatient, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			began := time.Now()
			if _, err := source.Token(impatient); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's error", err)
			}
			if waited := time.Since(began); waited != time.Second {
				t.Errorf("waited %v, want 1s", waited)
			}
		})
		synctest.Wait()
		all.Go(func() { w.token(source) })
		all.Wait()
		w.wantRequests(tokenRoute, 1)
	})
}

func TestACallerThatGivesUpSaysWhatWentWrong(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: 503, Times: -1, Header: map[string]string{"Retry-After": "5"}})
		source := w.source(w.config())
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		_, err := source.Token(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, m2m.ErrUnavailable) {
			t.Errorf("got %v, want both the deadline and the cause", err)
		}
		source.Wait(w.t.Context())
	})
}

func TestNoDeadTokenIsUsedAfterAFreeze(t *testing.T) {
	freezes := map[string]func(w *world){
		// The process stood still: timers and the monotonic clock did not move, the wall clock did.
		"the monotonic clock stood still": func(w *world) { w.leap.Store(int64(3 * time.Hour)) },
		// The wall clock was set back, or stood still.
		"the wall clock stood still": func(w *world) {
			time.Sleep(3 * time.Hour)
			w.leap.Store(-int64(3 * time.Hour))
		},
	}
	for name, freeze := range freezes {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				source := w.source(w.config())
				first := w.token(source)
				freeze(w)
				if w.token(source) == first {
					t.Error("a token that is dead was handed out")
				}
				w.wantRequests(tokenRoute, 2)
			})
		})
	}
}

func TestARequestInFlightWhenTheEnvironmentFrozeIsReplaced(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Latency: 9 * time.Second})
		source := w.source(w.config())
		var all sync.WaitGroup
		all.Go(func() { w.token(source) }) // moves over to the replacement
		synctest.Wait()
		w.leap.Store(int64(time.Hour))
		began := time.Now()
		w.token(source)
		all.Wait()
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("waited %v for a request that the freeze had outdated", waited)
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestARefreshThatFailsIsNoErrorWhileTheOldTokenIsValid(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		first := w.token(source)
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: 503, Times: 12})
		time.Sleep(56 * time.Minute)
		for range 3 { // each a flight of four attempts
			if w.token(source) != first {
				t.Fatal("another token though every refresh failed")
			}
			source.Wait(w.t.Context())
			if w.token(source) != first {
				t.Fatal("another token though every refresh failed")
			}
			time.Sleep(15 * time.Second)
		}
		w.token(source)
		source.Wait(w.t.Context())
		if w.token(source) == first {
			t.Error("the refresh did not succeed once the endpoint was well")
		}
		w.wantRequests(tokenRoute, 1+12+1)
	})
}

func TestTemporaryFailuresAreRetriedWithinTheDeadline(t *testing.T) {
	faults := map[string]logtotest.Fault{
		"503":              {Status: 503},
		"429":              {Status: 429, Header: map[string]string{"Retry-After": "3"}},
		"connection reset": {Reset: true},
		"body cut":         {ResetAfter: true},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				fault.Route, fault.Times = tokenRoute, 2
				w.tenant.Inject(fault)
				source := w.source(w.config())
				began := time.Now()
				w.token(source)
				w.wantRequests(tokenRoute, 3)
				if waited := time.Since(began); name == "429" && waited < 6*time.Second {
					t.Errorf("waited %v in all, less than Retry-After asks", waited)
				}
			})
		})
	}
}

func TestAQuotaThatIsUsedUpIsNeverRetried(t *testing.T) {
	inWorld(t, logtotest.Config{TokenQuota: 1}, func(w *world) {
		w.token(w.source(w.config()))
		source := w.source(w.config())
		for range 100 {
			if _, err := source.Token(w.t.Context()); !errors.Is(err, m2m.ErrQuotaExceeded) {
				t.Fatalf("got %v, want ErrQuotaExceeded", err)
			}
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestARefusalStandsForAWhileForEveryCaller(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		config.Scopes = []string{"write:products"}
		source := w.source(config)
		for range 100 {
			if _, err := source.Token(w.t.Context()); !errors.As(err, new(*m2m.ScopeError)) {
				t.Fatalf("got %v, want a *ScopeError", err)
			}
		}
		w.wantRequests(tokenRoute, 1)
		w.tenant.Grant(w.app.ID, shopping, "write:products")
		time.Sleep(10 * time.Second)
		w.token(source)
	})
}

func TestARotatedSecretIsReadAgainOnce(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		secrets := &provider{credentials: w.credentials()}
		config := w.config()
		config.Credentials = secrets
		source := w.source(config)
		source.Invalidate(w.token(source))

		rotated := w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "second"}).Value
		w.tenant.DeleteSecret(w.app.ID, "Default secret")
		secrets.credentials.AppSecret = m2m.NewSecret(rotated)
		w.token(source)               // so soon after the first that the secret is not read before it is refused
		w.wantRequests(tokenRoute, 3) // the first, the refused one, the one with the new secret
		if secrets.reads != 2 {
			t.Errorf("%d reads of the secret, want 2", secrets.reads)
		}
	})
}

func TestASecretThatDidNotChangeIsNotTriedAgain(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		secrets := &provider{credentials: w.credentials()}
		secrets.credentials.AppSecret = m2m.NewSecret(wrongSecret)
		config := w.config()
		config.Credentials = secrets
		source := w.source(config)
		if _, err := source.Token(w.t.Context()); !errors.Is(err, m2m.ErrWrongSecret) {
			t.Errorf("got %v, want ErrWrongSecret", err)
		}
		w.wantRequests(tokenRoute, 1)
		if secrets.reads != 2 {
			t.Errorf("%d reads of the secret, want 2", secrets.reads)
		}
	})
}

func TestInvalidateDropsThatTokenOnly(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		first := w.token(source)
		source.Invalidate(first)
		second := w.token(source)
		source.Invalidate(first)
		if w.token(source) != second || second == first {
			t.Error("the wrong token was dropped")
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestConcurrentUseUnderInvalidation(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		var all sync.WaitGroup
		var calls atomic.Int64
		for range 50 {
			all.Go(func() {
				for range 20 {
					source.Invalidate(w.token(source))
					calls.Add(1)
				}
			})
		}
		all.Wait()
		if got := int64(w.tenant.Requests(tokenRoute)); got > calls.Load() || got == 0 {
			t.Errorf("%d token requests for %d calls", got, calls.Load())
		}
	})
}

func TestTokenSourceFitsTheEcosystem(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		source := w.source(w.config())
		token, err := source.TokenSource(w.t.Context()).Token()
		if err != nil {
			t.Fatal(err)
		}
		if !token.Valid() || token.Type() != "Bearer" || time.Until(token.Expiry) != time.Hour {
			t.Errorf("type %s, expiry in %v, valid %v", token.Type(), time.Until(token.Expiry), token.Valid())
		}
	})
}

func TestAnAnswerThatIsNoTokenIsNotAskedForAgainAtOnce(t *testing.T) {
	for name, body := range map[string]string{
		"no lifetime": `{"access_token":"abc","token_type":"Bearer"}`,
		"a web page":  `<html>sign in</html>`,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Times: -1, Status: 200, Body: body})
				source := w.source(w.config())
				for range 50 {
					if _, err := source.Token(w.t.Context()); err == nil || !strings.Contains(err.Error(), "token endpoint") {
						t.Fatalf("got %v, want an error that doubts the token endpoint", err)
					}
				}
				if got := source.Stats(); got.TokenRequests != 1 || got.Tokens != 0 {
					t.Errorf("%+v, want 1 request and no token", got)
				}
			})
		})
	}
}

func TestRetryAfterOfTheTokenEndpointHoldsForEveryCaller(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: 429, Header: map[string]string{"Retry-After": "60"}})
		source := w.source(w.config())
		for range 50 {
			if _, err := source.Token(w.t.Context()); !errors.Is(err, m2m.ErrRateLimited) {
				t.Fatalf("got %v, want ErrRateLimited", err)
			}
		}
		w.wantRequests(tokenRoute, 1)
		time.Sleep(time.Minute)
		w.token(source)
	})
}

func TestTokensThatAreDeadOnArrivalAreNotAskedForWithoutEnd(t *testing.T) {
	inWorld(t, logtotest.Config{TokenLifetime: time.Second}, func(w *world) {
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Times: -1, Latency: 950 * time.Millisecond})
		if _, err := w.source(w.config()).Token(w.t.Context()); err == nil || !strings.Contains(err.Error(), "lifetime") {
			t.Errorf("got %v, want an error about the lifetime", err)
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestARequestThatWasGivenUpDoesNotLand(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		// The first answer comes although the request was given up meanwhile, and after the second's.
		asked := 0
		config := w.config()
		slow := roundTripper(func(req *http.Request) (*http.Response, error) {
			asked++
			if asked == 1 {
				resp, err := w.client.Transport.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
				time.Sleep(5 * time.Second)
				return resp, err
			}
			return w.client.Transport.RoundTrip(req)
		})
		config.HTTPClient = &http.Client{Transport: slow}
		source := w.source(config)
		var all sync.WaitGroup
		all.Go(func() { w.token(source) })
		synctest.Wait()
		w.leap.Store(int64(time.Hour))
		second := w.token(source)
		all.Wait()
		time.Sleep(10 * time.Second)
		if w.token(source) != second {
			t.Error("the answer to a request that was given up took the place of its replacement's")
		}
	})
}
