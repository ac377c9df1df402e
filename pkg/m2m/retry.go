package m2m

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// maxAttempts bounds how often one request is sent, the first time included.
const maxAttempts = 4

// backoff is how long to wait before attempt n+1: it doubles from a quarter of a second, with jitter so that many
// clients that failed together do not come back together. random returns numbers of [0, 1); nil: those of math/rand/v2.
func backoff(n int, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64 // #nosec G404 -- jitter is no secret
	}
	full := 250 * time.Millisecond << min(n-1, 6)
	return full/2 + time.Duration(random()*float64(full/2))
}

// retryAfter reads the Retry-After header: seconds or a date (RFC 9110 section 10.2.3). Zero: it says nothing.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<31)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// longestWait is for callers without a deadline: a server may ask for a day. No function may work longer.
const longestWait = 15 * time.Minute

// sleep waits and tells whether it could: not if ctx ends first, and not at all if ctx's deadline is sooner or d too long.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); d > longestWait || ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errTooLong says that an answer is longer than any that is meant.
var errTooLong = errors.New("too long")

// readLimited reads all of r, or fails by errTooLong if that is more than limit bytes.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLong, limit)
	}
	return data, err
}
