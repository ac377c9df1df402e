package governor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// counting is a store that counts what is asked for shares, and may be out of order.
type counting struct {
	jobs.Store
	mu    sync.Mutex
	asked int
	err   error
}

func (c *counting) Share(ctx context.Context, budget, owner string, until time.Time) (int, error) {
	c.mu.Lock()
	c.asked++
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Store.Share(ctx, budget, owner, until)
}

// run runs a job that works behind a Governor of its own, as a process of its own would, and tells how many writes it made.
func (w *world) run(store jobs.Store, log io.Writer, payload string, work func(c *client) int) (writes int) {
	w.t.Helper()
	c := w.client("50%")
	job := governor.Govern(c.governor, jobs.Job[struct{}]{
		Name: "sync",
		Run:  func(context.Context, *jobs.Run[struct{}]) error { writes = work(c); return nil },
	})
	handler := jobs.Handler(job, jobs.Config{Store: store, Log: log, Stack: strings.ToLower(w.t.Name()[:8])})
	if _, err := handler.Invoke(w.t.Context(), []byte(payload)); err != nil {
		w.t.Error(err)
	}
	return writes
}

// event is one of a slot of its own.
func event(id string) string {
	return `{"id":"` + id + `","detail-type":"x","source":"test","time":"2026-11-24T03:00:00Z","detail":{}}`
}

const patchRoute = "PATCH /api/users/{id}/custom-data"

func TestRunsBesideEachOtherKeepToOneBudgetTogether(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		store := &counting{Store: jobs.NewMemoryStore(nil)}
		var all sync.WaitGroup
		counts := map[string]int{}
		var mu sync.Mutex
		for i, id := range []string{"a", "b", "c"} {
			all.Go(func() {
				<-time.After(time.Duration(i) * time.Minute) // one comes after the other
				n := w.run(store, io.Discard, event(id), func(c *client) int { return c.work(8, 5*time.Minute) })
				mu.Lock()
				defer mu.Unlock()
				counts[id] = n
			})
		}
		var windows []int
		for range 7 * 6 {
			before := w.tenant.Requests(patchRoute)
			<-time.After(10 * time.Second)
			windows = append(windows, w.tenant.Requests(patchRoute)-before)
		}
		all.Wait()
		for i, n := range windows {
			// A governor's first four need no share; what the budget is short of is what newcomers wait for.
			if n > 100+8 {
				t.Errorf("%d requests in the 10 seconds after %ds, and 100 are the budget: %v", n, 10*i, windows)
			}
		}
		total := counts["a"] + counts["b"] + counts["c"]
		if total < 95*7*60*10/100 {
			t.Errorf("%d requests in 7 minutes: %v", total, windows)
		}
		if a, c := counts["a"], counts["c"]; a < c*8/10 || c < a*6/10 {
			t.Errorf("shared unevenly: %v", counts)
		}
		// Each run renews every 15 seconds, and a newcomer asks more often until it has something.
		if store.asked > 3*(5*4+8) {
			t.Errorf("the store was asked %d times", store.asked)
		}
		t.Log(windows, counts, store.asked)
	})
}

func TestAShortRunAsksTheStoreForNothing(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		store := &counting{Store: jobs.NewMemoryStore(nil)}
		began := time.Now()
		w.run(store, io.Discard, event("a"), func(c *client) int {
			for range 3 { // and a token
				if status, err := c.patch(); status != http.StatusOK {
					t.Errorf("status %d, %v", status, err)
				}
			}
			return 3
		})
		if store.asked != 0 || time.Since(began) != 0 {
			t.Errorf("three writes took %v and asked the store %d times", time.Since(began), store.asked)
		}
		w.run(store, io.Discard, event("b"), func(c *client) int { return c.work(1, 10*time.Second) })
		if store.asked != 2 {
			t.Errorf("ten seconds of writes asked the store %d times, want its lease and its end", store.asked)
		}
	})
}

func TestAnEndedRunGivesItsShareBackAndADeadOneLosesIt(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		store := jobs.NewMemoryStore(nil)
		work := func(c *client) int { return c.work(8, 10*time.Second) }
		w.run(store, io.Discard, event("a"), work)
		if n := w.run(store, io.Discard, event("b"), work); n < 95 {
			t.Errorf("%d requests in 10 s after a run that has ended", n)
		}
		if _, err := store.Share(w.t.Context(), "127.0.0.1", "dead", time.Now().Add(5*time.Second)); err != nil {
			t.Fatal(err)
		}
		if n := w.run(store, io.Discard, event("c"), work); n < 20 || n > 60 {
			t.Errorf("%d requests in 10 s of which a dead run holds all for 5", n)
		}
	})
}

func TestARunWhoseStoreDoesNotAnswerGoesOnSlowlyAndSaysSo(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		store := &counting{Store: jobs.NewMemoryStore(nil), err: errors.New("table is gone")}
		var log bytes.Buffer
		n := w.run(store, &log, event("a"), func(c *client) int { return c.work(8, time.Minute) })
		if n < 55 || n > 75 {
			t.Errorf("%d requests in a minute, want about a tenth of the budget", n)
		}
		if !strings.Contains(log.String(), "table is gone") || !strings.Contains(log.String(), "going on with a small one") {
			t.Errorf("the log says nothing of it: %s", &log)
		}
		if store.asked > 5 {
			t.Errorf("it was asked %d times", store.asked)
		}
	})
}

func TestMessagesOfAQueueKeepTheirShareForTheNext(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		store := &counting{Store: jobs.NewMemoryStore(nil)}
		message := `{"messageId":"1","receiptHandle":"r","body":"{}","attributes":{},"messageAttributes":{},"md5OfBody":"",` +
			`"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:rows","awsRegion":"us-east-1"}`
		batch := `{"Records":[` + strings.Repeat(message+",", 9) + message + `]}`
		w.run(store, io.Discard, batch, func(c *client) int { return c.work(1, time.Second) })
		if store.asked != 1 {
			t.Errorf("ten messages asked the store %d times", store.asked)
		}
	})
}
