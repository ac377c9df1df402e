package m2m

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// TokenCache keeps tokens where the environments that come after find them, so that a thousand cold starts cost one token of
// the tenant's quota. pkg/m2m/dynamodb has one in a table, FileCache is one on a disk.
//
// What is kept is sealed (AES-256-GCM) with a key that is derived from the app secret (HKDF), for this app, token endpoint,
// resource, organization and scopes. Who reads the cache has nothing without the secret (the secrets that Logto makes are
// beyond guessing); who writes it can cost tokens, and no more: what does not open is passed over, as is what is stale.
// A cache that fails or hangs costs a Source a second, and never an error.
//
// A name is 64 hexadecimal digits. The times are the caller's wall clock, so that a cache needs none.
type TokenCache interface {
	// Load returns what was stored under the name last, nil if there is nothing.
	Load(ctx context.Context, name string) ([]byte, error)
	// Lease tells whether the caller is the one to get the next token: true for one caller until the lease ends. What is
	// stored under the name stays. Where in doubt it is true, which costs a token; a lease of more than a minute is none.
	Lease(ctx context.Context, name string, now, until time.Time) (bool, error)
	// Store keeps data under the name, instead of what was there. The lease runs on, for those who looked just before. It is
	// called once for each token that was got. After end nobody needs the data.
	Store(ctx context.Context, name string, data []byte, now, end time.Time) error
}

const (
	// cacheTime is how long one request to the cache may take.
	cacheTime = time.Second
	// leaseTime is how long one environment has for getting a token before the next may try.
	leaseTime = 2 * time.Second
	// leaseWait is how long an environment waits for another's token before it gets one of its own.
	leaseWait = 2 * leaseTime
	// maxSkew is how far the clock of who got a token may be ahead of ours. If it were further, we would use it for too long.
	maxSkew = 10 * time.Second
)

// obtain gets a token: from the cache, if there is one, or from the tenant.
func (s *Source) obtain(ctx context.Context, f *flight, c *Credentials) (*kept, error) {
	if s.config.Cache == nil {
		return s.request(ctx, f, c)
	}
	e, err := s.envelope(c)
	if err != nil {
		s.cacheFailed("sealing", err)
		return s.request(ctx, f, c)
	}
	k, works := s.share(ctx, e)
	if k != nil {
		s.cacheHits.Add(1)
		return k, nil
	}
	k, err = s.request(ctx, f, c)
	if err == nil && works {
		s.store(ctx, e, k)
	}
	return k, err
}

// share looks for a token in the cache. Where there is none it takes the lease, or waits for who has it. It returns nil if
// the caller is to get one, and whether the cache works.
func (s *Source) share(ctx context.Context, e *envelope) (k *kept, works bool) {
	began := time.Now()
	var tried time.Time
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, leaseTime/4) {
		k, err := s.load(ctx, e)
		if err != nil {
			return nil, false
		}
		if s.isFresh(k) {
			return k, true
		}
		// A token that soon expires does for who has none, while another gets the next.
		does := s.isUsable(k) && !s.isUsable(s.kept.Load())
		// Asked for once in a lease's time: each try is a write, and a thousand may wait.
		if time.Since(tried) >= leaseTime {
			tried = time.Now()
			mine, err := s.lease(ctx, e)
			if mine || err != nil {
				return nil, err == nil
			}
		}
		if does {
			return k, true
		}
		if time.Since(began) >= leaseWait || !sleep(ctx, pause/2+rand.N(pause)) { // #nosec G404 -- jitter is no secret
			return nil, true
		}
	}
}

// load returns the token in the cache, or nil: what does not open, or was refused by an API, is none.
func (s *Source) load(ctx context.Context, e *envelope) (*kept, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheTime)
	defer cancel()
	data, err := s.config.Cache.Load(ctx, e.name)
	if err != nil {
		s.cacheFailed("reading", err)
		return nil, err
	}
	if data == nil {
		return nil, nil
	}
	t, err := e.open(data)
	if err != nil {
		s.cacheFailed("opening", err)
		return nil, nil
	}
	age := s.now().Sub(t.asked)
	if dropped := s.dropped.Load(); dropped != nil && *dropped == t.token.AccessToken || age < -maxSkew {
		return nil, nil
	}
	return keep(t.token, time.Now().Add(-age), t.asked, t.lifetime), nil
}

func (s *Source) lease(ctx context.Context, e *envelope) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheTime)
	defer cancel()
	now := s.now()
	mine, err := s.config.Cache.Lease(ctx, e.name, now, now.Add(leaseTime))
	if err != nil {
		s.cacheFailed("leasing", err)
	}
	return mine, err
}

func (s *Source) store(ctx context.Context, e *envelope, k *kept) {
	ctx, cancel := context.WithTimeout(ctx, cacheTime)
	defer cancel()
	data, err := e.seal(sealed{k.token, k.askedWall, k.token.Expiry.Sub(k.askedWall)})
	if err == nil {
		err = s.config.Cache.Store(ctx, e.name, data, s.now(), k.token.Expiry)
	}
	if err != nil {
		s.cacheFailed("writing", err)
	}
}

// cacheFailed says what is wrong with the cache, since nothing else does: the tokens come all the same.
func (s *Source) cacheFailed(doing string, err error) {
	s.cacheFailures.Add(1)
	s.config.Log.Warn(fmt.Sprintf("%s the token cache: a token is got without it", doing), "error", err)
}
