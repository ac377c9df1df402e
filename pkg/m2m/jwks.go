package m2m

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How long keys are used; see Verifier.
const (
	keysMaxAge     = 24 * time.Hour     // then they are fetched anew
	keysUsable     = 7 * 24 * time.Hour // so long they do if that fails
	failedInterval = 10 * time.Second   // the least time between a failed fetch and the next
	fetchTimeout   = 5 * time.Second
	// flightAge is when a fetch is taken for dead: one that was caught in a frozen environment does not time out by
	// itself, because its timers stood still.
	flightAge = 2 * fetchTimeout
)

var errFetchReplaced = errors.New("the fetch took too long and was replaced")

// keyID finds a key. The algorithm is part of it, so that a key is never used with another one than its own.
type keyID struct {
	kid       string
	algorithm jose.SignatureAlgorithm
}

// publicKey is a key of one fetch. What it verified is known by its address: the next fetch makes another of it.
type publicKey struct{ key any }

// fetchedKeys are the keys of one fetch.
type fetchedKeys struct {
	keys map[keyID]*publicKey
	at   time.Time // when the fetch began
}

// keyFlight is a fetch under way. err is set before done is closed.
type keyFlight struct {
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// keySet keeps the issuer's keys and decides when to fetch them.
type keySet struct {
	fetch    func(ctx context.Context) (map[keyID]*publicKey, error)
	now      func() time.Time
	interval time.Duration
	log      *slog.Logger

	current atomic.Pointer[fetchedKeys] // nil: never fetched

	mu     sync.Mutex // never held while something is waited for
	flight *keyFlight // nil: none
	tried  time.Time  // when the last fetch began, or failed
	failed error      // how the last fetch failed; nil: it did not
}

// wall is the time without its monotonic reading, which may stand still while the environment is frozen.
func (s *keySet) wall() time.Time { return s.now().Round(0) }

// key returns the key, or nil if the issuer does not have it. The error matches ErrKeysUnavailable.
func (s *keySet) key(ctx context.Context, id keyID) (*publicKey, error) {
	now := s.wall()
	key, age := s.lookup(id, now)
	if key != nil && age < keysMaxAge {
		return key, nil
	}
	flight, mine, failed := s.refetch(now)
	if key != nil && age < keysUsable && !mine {
		// Only the one that begins the fetch waits for it: an issuer that does not answer must not slow all down.
		return key, nil
	}
	if flight != nil {
		select {
		case <-flight.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: waiting for them: %w", ErrKeysUnavailable, context.Cause(ctx))
		}
		failed = flight.err
	}
	// Without a flight, too: the one that had the key may have ended between the first look and the lock.
	key, age = s.lookup(id, now)
	switch {
	case key != nil && age < keysUsable:
		return key, nil
	case failed != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, failed)
	}
	return nil, nil
}

// lookup returns a key and how long ago it was fetched, or nil.
func (s *keySet) lookup(id keyID, now time.Time) (*publicKey, time.Duration) {
	current := s.current.Load()
	if current == nil {
		return nil, 0
	}
	return current.keys[id], now.Sub(current.at)
}

// refetch joins the fetch under way or begins one (mine). If it is too early for one, it returns no flight, and how the
// last fetch failed if it did.
func (s *keySet) refetch(now time.Time) (flight *keyFlight, mine bool, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		if age := now.Sub(s.flight.began); age >= 0 && age < flightAge {
			return s.flight, false, nil
		}
		s.flight.cancel()
	} else {
		wait := s.interval
		if s.failed != nil {
			wait = min(wait, failedInterval)
		}
		// A negative age is a clock that was put back.
		if age := now.Sub(s.tried); !s.tried.IsZero() && age >= 0 && age < wait {
			return nil, false, s.failed
		}
	}
	// Not the context of a caller: when that one gives up, the others still wait.
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	s.flight = &keyFlight{began: now, cancel: cancel, done: make(chan struct{})}
	s.tried = now
	go s.run(ctx, s.flight)
	return s.flight, true, nil
}

func (s *keySet) run(ctx context.Context, f *keyFlight) {
	defer f.cancel()
	defer close(f.done)
	keys, err := s.fetch(ctx)
	if err != nil {
		s.log.Warn("fetching the keys that access tokens are verified with", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != f {
		f.err = errFetchReplaced
		return
	}
	s.flight = nil
	s.failed, f.err = err, err
	if err != nil {
		s.tried = s.wall()
		return
	}
	s.current.Store(&fetchedKeys{keys: keys, at: f.began})
}
