package m2m_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// shared is a configuration whose tokens are kept in a directory.
func (w *world) shared(directory string) m2m.Config {
	config := w.config()
	config.Cache, config.Log = m2m.FileCache(directory), quiet()
	return config
}

// coldStarts lets n Sources that know nothing of each other ask at once, and returns the tokens they got.
func (w *world) coldStarts(n int, config m2m.Config) map[string]int {
	w.t.Helper()
	tokens := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		source := w.source(config)
		all.Go(func() {
			token, err := source.Token(w.t.Context())
			if err != nil {
				w.t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[token.AccessToken]++
		})
	}
	all.Wait()
	return tokens
}

func TestAThousandColdStartsCostOneToken(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Times: -1, Latency: 300 * time.Millisecond})
		config := w.shared(w.t.TempDir())
		began := time.Now()
		if tokens := w.coldStarts(1000, config); len(tokens) != 1 {
			t.Errorf("%d tokens among 1,000 cold starts at once, want 1", len(tokens))
		}
		t.Logf("1,000 cold starts at once: %d token requests, all served after %v", w.tenant.Requests(tokenRoute), time.Since(began))
		w.wantRequests(tokenRoute, 1)

		// And an hour of starts one after the other costs what one Source costs.
		w.tenant.ClearFaults()
		for range 60 {
			time.Sleep(time.Minute)
			w.token(w.source(config))
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestATokenFromTheCacheIsCountedAsSuch(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.shared(w.t.TempDir())
		first := w.source(config)
		token := w.token(first)
		time.Sleep(10 * time.Minute)
		second := w.source(config)
		got, err := second.Token(w.t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.AccessToken != token || got.Extra("scope") != "read:orders" || time.Until(got.Expiry).Round(time.Second) != 50*time.Minute {
			t.Errorf("the second got another token, or scope %v, or an end in %v", got.Extra("scope"), time.Until(got.Expiry))
		}
		if a, b := first.Stats(), second.Stats(); a.Tokens != 1 || a.CacheHits != 0 || b.Tokens != 0 || b.CacheHits != 1 || b.TokenRequests != 0 {
			t.Errorf("first %+v, second %+v", a, b)
		}
		// It ends for both when it ends.
		time.Sleep(51 * time.Minute)
		if w.token(second) == token {
			t.Error("a token from the cache is used past its end")
		}
	})
}

func TestOnlyWhoAsksForTheSameMeetsAnEntry(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		organization := w.tenant.AddOrganization()
		w.tenant.JoinOrganization(organization, w.app.ID, "")
		w.tenant.AddResource("https://other.api", "read:orders")
		w.tenant.Grant(w.app.ID, "https://other.api", "read:orders")
		other := w.tenant.AddApp("another")
		w.tenant.Grant(other.ID, shopping, "read:orders", "read:products")
		directory := w.t.TempDir()
		config := w.shared(directory)
		want := 0
		for name, change := range map[string]func(c *m2m.Config){
			"the same":     func(*m2m.Config) {},
			"scopes":       func(c *m2m.Config) { c.Scopes = []string{"read:orders", "read:products"} },
			"one scope":    func(c *m2m.Config) { c.Scopes = []string{"read:products"} },
			"resource":     func(c *m2m.Config) { c.Resource = "https://other.api" },
			"organization": func(c *m2m.Config) { c.Resource, c.Scopes, c.OrganizationID = "", nil, organization },
			"endpoint": func(c *m2m.Config) {
				c.TokenURL = strings.Replace(w.tenant.URL, "127.0.0.1", "localhost", 1) + "/oidc/token"
			},
			"app": func(c *m2m.Config) {
				c.Credentials = m2m.StaticCredentials(m2m.Credentials{Endpoint: w.tenant.URL, AppID: other.ID, AppSecret: m2m.NewSecret(other.Secret)})
			},
		} {
			want++
			for range 2 { // the second meets the first one's
				one := config
				change(&one)
				w.token(w.source(one))
			}
			if got := w.tenant.Requests(tokenRoute); got != want {
				t.Errorf("%s: %d token requests, want %d", name, got, want)
			}
		}
		// The order of scopes is no difference.
		config.Scopes = []string{"read:products", "read:orders", "read:orders"}
		w.token(w.source(config))
		w.wantRequests(tokenRoute, want)
	})
}

// entries are the sealed tokens of a directory by their path.
func entries(t *testing.T, directory string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(directory, "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		if strings.HasSuffix(path, ".lease") {
			continue
		}
		if all[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// only is the path of the one entry that directory has.
func only(t *testing.T, directory string) string {
	t.Helper()
	all := entries(t, directory)
	if len(all) != 1 {
		t.Fatalf("%d entries, want 1", len(all))
	}
	for path := range all {
		return path
	}
	return ""
}

func TestWhatTheCacheHasTellsNothing(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		directory := w.t.TempDir()
		token := w.token(w.source(w.shared(directory)))
		for path, data := range entries(t, directory) {
			for what, text := range map[string]string{"the token": token, "its signature": token[len(token)-20:], "its header": "eyJ",
				"the app": w.app.ID, "the secret": w.app.Secret, "the resource": "shopping", "a scope": "read:orders"} {
				if strings.Contains(path, text) || bytes.Contains(data, []byte(text)) {
					t.Errorf("an entry shows %s", what)
				}
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("an entry is open to others: %v, %v", info.Mode(), err)
			}
		}
	})
}

func TestAnEntryThatWasChangedOrIsForeignIsPassedOver(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, w *world, directory, path string, data []byte){
		"the last byte changed": func(t *testing.T, _ *world, _, path string, data []byte) {
			data[len(data)-1] ^= 1
			write(t, path, data)
		},
		"the first byte changed": func(t *testing.T, _ *world, _, path string, data []byte) { data[0] ^= 1; write(t, path, data) },
		"cut short":              func(t *testing.T, _ *world, _, path string, data []byte) { write(t, path, data[:10]) },
		"empty":                  func(t *testing.T, _ *world, _, path string, _ []byte) { write(t, path, nil) },
		"a token as it is": func(t *testing.T, _ *world, _, path string, _ []byte) {
			write(t, path, []byte(`{"token":"abc","lifetime":3600000}`))
		},
		"endless": func(t *testing.T, _ *world, _, path string, _ []byte) { write(t, path, make([]byte, 1<<20)) },
		"another kind of token's, copied": func(t *testing.T, w *world, directory, path string, _ []byte) {
			elsewhere := w.t.TempDir()
			config := w.shared(elsewhere)
			config.Scopes = []string{"read:products"}
			w.token(w.source(config))
			write(t, path, entries(t, elsewhere)[only(t, elsewhere)])
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				directory := w.t.TempDir()
				config := w.shared(directory)
				first := w.token(w.source(config))
				time.Sleep(time.Minute)
				path := only(t, directory)
				spoil(t, w, directory, path, entries(t, directory)[path])
				before := w.tenant.Requests(tokenRoute)
				source := w.source(config)
				second := w.token(source)
				if second == first || w.tenant.Requests(tokenRoute) != before+1 {
					t.Error("the entry was used")
				}
				if got := source.Stats(); got.CacheFailures != 1 {
					t.Errorf("%+v, want one failure of the cache", got)
				}
				// What was wrong is replaced, unless it cannot even be read.
				if name != "endless" && w.token(w.source(config)) != second {
					t.Error("the entry was not replaced")
				}
			})
		})
	}
}

func TestAfterARotationTheOldEntryIsUseless(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		directory := w.t.TempDir()
		config := w.shared(directory)
		first := w.token(w.source(config))
		old := entries(t, directory)
		oldPath := only(t, directory)

		rotated := w.credentials()
		rotated.AppSecret = m2m.NewSecret(w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "next"}).Value)
		config.Credentials = m2m.StaticCredentials(rotated)
		second := w.token(w.source(config))
		if second == first {
			t.Error("a token that was sealed with the old secret opened with the new one")
		}
		if w.token(w.source(config)) != second {
			t.Error("the new secret's entry is not shared")
		}
		w.wantRequests(tokenRoute, 2)
		// Not even if it is put in the new one's place.
		time.Sleep(time.Minute)
		for path := range entries(t, directory) {
			write(t, path, old[oldPath])
		}
		if w.token(w.source(config)) == first {
			t.Error("the old entry opened under the new name")
		}
		w.wantRequests(tokenRoute, 3)
	})
}

// A warm environment whose secret was replaced finds what another has got with the new one already.
func TestARotationCostsOneTokenForAll(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.shared(w.t.TempDir())
		secrets := &provider{credentials: w.credentials()}
		config.Credentials = secrets
		var warm []*m2m.Source
		for range 20 {
			warm = append(warm, w.source(config))
		}
		for _, source := range warm {
			w.token(source)
		}
		rotated := w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "next"}).Value
		w.tenant.DeleteSecret(w.app.ID, "Default secret")
		secrets.credentials.AppSecret = m2m.NewSecret(rotated)
		time.Sleep(2 * time.Hour)
		tokens := map[string]bool{}
		for _, source := range warm {
			tokens[w.token(source)] = true
		}
		if len(tokens) != 1 {
			t.Errorf("%d tokens with the new secret, want 1", len(tokens))
		}
	})
}

func TestA401DropsTheEntryForAll(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.shared(w.t.TempDir())
		revoked := ""
		api, base := w.serve(func(_ int, rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer "+revoked {
				rw.WriteHeader(http.StatusUnauthorized)
			}
		})
		var clients []*http.Client
		for range 10 {
			source := w.source(config)
			revoked = w.token(source)
			clients = append(clients, &http.Client{Transport: &m2m.Transport{Source: source, Origin: api.url, Base: base}})
		}
		time.Sleep(10 * time.Minute)
		for _, client := range clients {
			if status := w.status(client, w.request(http.MethodGet, api.url, "")); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
		}
		if w.token(w.source(config)) == revoked {
			t.Error("a cold start still gets the token that was refused")
		}
		w.wantRequests(tokenRoute, 2) // one for all before, one for all after
	})
}

// failing is a cache that is out of order in a way that a test chooses.
type failing struct {
	m2m.TokenCache
	load, lease, store func(ctx context.Context) error
}

func (f *failing) Load(ctx context.Context, name string) ([]byte, error) {
	if f.load != nil {
		return nil, f.load(ctx)
	}
	return f.TokenCache.Load(ctx, name)
}

func (f *failing) Lease(ctx context.Context, name string, now, until time.Time) (bool, error) {
	if f.lease != nil {
		return false, f.lease(ctx)
	}
	return f.TokenCache.Lease(ctx, name, now, until)
}

func (f *failing) Store(ctx context.Context, name string, data []byte, now, end time.Time) error {
	if f.store != nil {
		return f.store(ctx)
	}
	return f.TokenCache.Store(ctx, name, data, now, end)
}

func TestACacheThatFailsOrHangsFailsNoCall(t *testing.T) {
	broken := func(context.Context) error { return errors.New("out of order") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	taken := func(context.Context) error { return nil } // never ours, by somebody who died
	for name, test := range map[string]struct {
		cache    failing
		want     time.Duration // how long the call may take, besides the token request
		failures int64
	}{
		"reading fails":           {failing{load: broken}, 0, 1},
		"reading hangs":           {failing{load: hangs}, time.Second, 1},
		"the lease fails":         {failing{lease: broken}, 0, 1},
		"the lease hangs":         {failing{lease: hangs}, time.Second, 1},
		"writing fails":           {failing{store: broken}, 0, 1},
		"writing hangs":           {failing{store: hangs}, time.Second, 1},
		"all of it hangs":         {failing{load: hangs, lease: hangs, store: hangs}, time.Second, 1},
		"the lease is never ours": {failing{lease: taken}, 5 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				var log bytes.Buffer
				config := w.shared(w.t.TempDir())
				test.cache.TokenCache = config.Cache
				config.Cache, config.Log = &test.cache, slog.New(slog.NewTextHandler(&log, nil))
				source := w.source(config)
				began := time.Now()
				w.token(source)
				if took := time.Since(began); took > test.want {
					t.Errorf("the call took %v, want %v at most", took, test.want)
				}
				if got := source.Stats(); got.Tokens != 1 || got.CacheFailures != test.failures {
					t.Errorf("%+v, want a token and %d failures of the cache", got, test.failures)
				}
				if said := strings.Contains(log.String(), "token cache"); said != (test.failures > 0) || containsSecret(log.String(), w.app.Secret) {
					t.Errorf("the log says %q", log.String())
				}
				synctest.Wait()
			})
		})
	}
}

func TestALeaseOfTheDeadHoldsNobodyUpForLong(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.shared(w.t.TempDir())
		// It takes the lease, and its request never returns.
		asked, once := make(chan struct{}), sync.Once{}
		dead := config
		dead.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			once.Do(func() { close(asked) })
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		ctx, cancel := context.WithCancel(w.t.Context())
		var gone sync.WaitGroup
		source := w.source(dead)
		gone.Go(func() { _, _ = source.Token(ctx) })
		<-asked
		cancel()
		gone.Wait()
		began := time.Now()
		if tokens := w.coldStarts(100, config); len(tokens) != 1 {
			t.Errorf("%d tokens, want that one took over", len(tokens))
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("they waited for %v", took)
		}
		w.wantRequests(tokenRoute, 1)
		source.Wait(w.t.Context())
	})
}

func TestAnEntryAheadOfOurClockIsPassedOver(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.shared(w.t.TempDir())
		w.leap.Store(int64(5 * time.Minute))
		ahead := w.token(w.source(config))
		w.leap.Store(0)
		time.Sleep(time.Minute)
		if w.token(w.source(config)) == ahead {
			t.Error("a token from five minutes ahead was taken: it would be used five minutes too long")
		}
	})
}

func TestAFileCacheIsTidiedUp(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		directory := filepath.Join(w.t.TempDir(), "made", "by itself")
		config := w.shared(directory)
		w.token(w.source(config))
		write(t, filepath.Join(directory, "not-ours"), nil)
		then := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(filepath.Join(directory, "not-ours"), then, then); err != nil {
			t.Fatal(err)
		}
		rotated := w.credentials()
		rotated.AppSecret = m2m.NewSecret(w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "next"}).Value)
		config.Credentials = m2m.StaticCredentials(rotated)
		time.Sleep(3 * time.Hour)
		w.token(w.source(config))
		if info, err := os.Stat(directory); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory: %v, %v", info.Mode(), err)
		}
		if all := entries(t, directory); len(all) != 2 { // the new one's, and the one that is not ours
			t.Errorf("%d entries, want 2", len(all))
		}
	})
}

func TestAHitWithACacheAllocatesNothing(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.shared(w.t.TempDir())
		config.Now = nil
		source := w.source(config)
		w.token(source)
		ctx := w.t.Context()
		if n := testing.AllocsPerRun(1000, func() { _, _ = source.Token(ctx) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
