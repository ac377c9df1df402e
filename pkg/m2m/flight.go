package m2m

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

const (
	// flightTime is how long getting a token may take, secret and retries included. One that is older on the wall
	// clock was in flight when the environment froze.
	flightTime = 30 * time.Second
	// attemptTime is how long one answer of the token endpoint may take.
	attemptTime = 10 * time.Second
	// pause is how long a refusal stands before the token endpoint is asked again: many callers that all get the same
	// refusal must not cost a request, or a token of the quota, each.
	pause = 10 * time.Second
)

// longestRest is the longest that a Retry-After is taken for.
const longestRest = time.Hour

// flight is one effort to get a token. It belongs to no caller: its context is its own.
type flight struct {
	started  time.Time // on the wall clock
	cancel   context.CancelFunc
	done     chan struct{}
	replaced bool                  // given up by its age; set before done is closed
	kept     *kept                 // what it got; set before done is closed
	err      error                 // why it failed; set before done is closed
	latest   atomic.Pointer[error] // why its latest attempt failed, for callers that give up before it does
}

// renew returns the token at hand if it is valid still, while a flight gets the next; otherwise it waits for that flight.
func (s *Source) renew(ctx context.Context) (*oauth2.Token, error) {
	for dead := 0; ; {
		token, f, err := s.board()
		if token != nil || err != nil {
			return token, err
		}
		select {
		case <-f.done:
			switch {
			case f.replaced:
			case f.err != nil:
				return nil, f.err
			case s.isUsable(f.kept):
				return f.kept.token, nil
			case dead > 0:
				return nil, errDeadOnArrival
			default:
				dead++ // this goroutine was frozen since, or the token lives too short: see once more
			}
		case <-ctx.Done():
			if latest := f.latest.Load(); latest != nil {
				return nil, fmt.Errorf("waiting for a token: %w; the latest attempt: %w", ctx.Err(), *latest)
			}
			return nil, fmt.Errorf("waiting for a token: %w", ctx.Err())
		}
	}
}

// board returns a valid token, or the flight to wait for, or why there is no use in one. It starts a flight where one
// is due, so that there is never more than one.
func (s *Source) board() (*oauth2.Token, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept.Load()
	if s.isFresh(k) {
		return k.token, nil, nil
	}
	now := s.now()
	if s.flight != nil && now.Sub(s.flight.started) > flightTime {
		s.flight.replaced = true
		s.flight.cancel()
		s.flight = nil
	}
	usable := s.isUsable(k)
	if s.flight == nil && !s.resting(now, usable) {
		s.flight = s.launch(now)
	}
	switch {
	case usable:
		return k.token, nil, nil
	case s.flight == nil:
		return nil, nil, s.failed
	}
	return nil, s.flight, nil
}

// errDeadOnArrival says that the tokens of this server can't be used.
var errDeadOnArrival = errors.New("the token endpoint's tokens have expired before they can be used: " +
	"their lifetime (in Logto: of the API resource) is shorter than an answer takes")

// resting tells whether the last failure is too recent to ask again: a refusal stands for a pause, Retry-After as long as
// it says, any other failure only as long as the old token serves. The caller holds s.mu.
func (s *Source) resting(now time.Time, usable bool) bool {
	if s.failed == nil {
		return false
	}
	var rest time.Duration
	if usable || isRefusal(s.failed) {
		rest = pause
	}
	if refused := (*TokenError)(nil); errors.As(s.failed, &refused) {
		rest = max(rest, min(refused.RetryAfter, longestRest))
	}
	since := now.Sub(s.failedAt)
	return since >= 0 && since < rest
}

// launch starts a flight. The caller holds s.mu.
func (s *Source) launch(now time.Time) *flight {
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	f := &flight{started: now, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer cancel()
		k, err := s.fetch(ctx, f)
		s.land(f, k, err)
	}()
	return f
}

// land keeps what a flight got.
func (s *Source) land(f *flight, k *kept, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.kept, f.err = k, err
	if !f.replaced {
		s.flight = nil
		s.failed, s.failedAt = err, s.now()
		if err == nil {
			s.kept.Store(k)
		}
	}
	close(f.done)
}

// isRefusal tells whether asking again would bring the same answer.
func isRefusal(err error) bool {
	if refused := (*TokenError)(nil); errors.As(err, &refused) {
		return !refused.temporary()
	}
	return errors.As(err, new(*ScopeError)) || errors.As(err, new(*answerError))
}

// Wait returns when no token request is in flight, or when ctx ends. A handler calls it before it answers, because the
// environment may be frozen right after.
func (s *Source) Wait(ctx context.Context) {
	s.mu.Lock()
	f := s.flight
	s.mu.Unlock()
	if f == nil {
		return
	}
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}
