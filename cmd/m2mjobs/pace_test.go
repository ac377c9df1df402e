package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// voyage is a tenant and the job in virtual time.
type voyage struct {
	t      *testing.T
	tenant *logtotest.Tenant
	dir    string
	budget string // of requests
}

func newVoyage(t *testing.T, users int, budget string) *voyage {
	v := &voyage{t, logtotest.NewWith(t, logtotest.Config{Listener: logtotest.NewPipeListener()}), t.TempDir(), budget}
	for i := range users {
		v.tenant.AddUser(logtotest.User{ID: userID(i), CustomData: map[string]any{"n": figure(i)}})
	}
	for _, route := range []string{"GET /api/users", patchRoute} {
		v.tenant.Inject(logtotest.Fault{Route: route, Times: -1, Latency: 40 * time.Millisecond})
	}
	return v
}

// figure is a number for a user that can't be told from the others, so that files don't compress to nothing.
func figure(user int) int64 { return int64(uint32(user) * 2654435761) }

// rows writes a file of rows, of which some change their users.
func (v *voyage) rows(name string, users int, changes func(user int) bool) string {
	v.t.Helper()
	var b strings.Builder
	for i := range users {
		n := figure(i)
		if changes(i) {
			n++
		}
		fmt.Fprintf(&b, `{"id":"%s","customData":{"n":%d}}`+"\n", userID(i), n)
	}
	name = filepath.Join(v.dir, name)
	if err := os.WriteFile(name, packed(v.t, filepath.Ext(name), b.String()), 0o600); err != nil {
		v.t.Fatal(err)
	}
	return name
}

func packed(t *testing.T, ext, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	default:
		return []byte(text)
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	}
	if err == nil {
		_, err = io.WriteString(w, text)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// run runs the job and asks each second how long it will take yet.
func (v *voyage) run(params map[string]any) *guesses {
	g := &guesses{}
	v.t.Helper()
	budget, err := governor.ParseBudget(v.budget)
	if err != nil {
		v.t.Fatal(err)
	}
	govern := governor.New(governor.Config{Base: v.tenant.ManagementClient().Transport, Budget: budget})
	handler := jobs.Handler(governor.Govern(govern, customdata.Job(customdata.Config{
		Client: func(context.Context) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: v.tenant.URL, HTTPClient: &http.Client{Transport: govern}})
		},
		Files:    files.New(nil),
		Output:   v.dir,
		Progress: func(p customdata.Progress) { g.tell(function.Progress{Progress: p, Tenant: govern.Stats()}) },
	})), jobs.Config{Log: io.Discard})
	event, err := json.Marshal(params)
	if err != nil {
		v.t.Fatal(err)
	}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() { g.ask(stop) })
	g.began = time.Now()
	_, err = handler.Invoke(v.t.Context(), event)
	g.ended = time.Now()
	close(stop)
	asking.Wait()
	if err != nil {
		v.t.Fatal(err)
	}
	return g
}

// guesses are what a pace says of a run, each second.
type guesses struct {
	began, ended time.Time
	all          []guess

	mu   sync.Mutex
	pace pace
	last function.Progress
}

type guess struct {
	at   time.Time
	left time.Duration
	last function.Progress
}

func (g *guesses) tell(p function.Progress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pace.add(time.Now(), p)
	g.last = p
}

func (g *guesses) ask(stop chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			g.mu.Lock()
			if left, ok := g.pace.left(now); ok {
				g.all = append(g.all, guess{now, left, g.last})
			}
			g.mu.Unlock()
		}
	}
}

// check compares the guesses from a time on with what was left: they are within 20 % of it, or three seconds.
func (g *guesses) check(t *testing.T, from time.Time) {
	t.Helper()
	looked, worst := 0, 0.0
	for _, x := range g.all {
		left := g.ended.Sub(x.at)
		if x.at.Before(from) {
			continue
		}
		looked++
		wrong := (x.left - left).Abs()
		if wrong <= 3*time.Second {
			continue
		}
		worst = max(worst, wrong.Seconds()/left.Seconds())
		if wrong > left/5 {
			t.Errorf("after %v: %v left, and it was %v; %+v", x.at.Sub(g.began), x.left, left, x.last)
		}
	}
	// Nothing is said as long as nothing is known: the size of zstd is not before its first block of 128 KiB was read.
	if seconds := int(g.ended.Sub(from).Seconds()); looked < seconds*95/100 {
		t.Errorf("%d guesses in %d seconds", looked, seconds)
	}
	t.Logf("%v in all, %d guesses, the worst %.0f %% wrong", g.ended.Sub(g.began), looked, 100*worst)
}

// twentieth is when the first 5 % of the time were over.
func (g *guesses) twentieth() time.Time { return g.began.Add(g.ended.Sub(g.began) / 20) }

const cloud = "50%" // what a tenant of Logto Cloud is sent unless told otherwise

func TestTheTimeLeftIsRightWithin20PercentAfterTheFirst5(t *testing.T) {
	every := func(n int) func(int) bool { return func(user int) bool { return user%n == n/2 } }
	for _, test := range []struct {
		name    string
		file    string
		users   int
		budget  string
		changes func(user int) bool
	}{
		{"all users change, at a budget", "rows.ndjson", 3000, cloud, every(1)},
		{"1 % change, at a budget", "rows.ndjson", 40000, cloud, every(100)},
		{"10 % change, at a budget", "rows.ndjson", 10000, cloud, every(10)},
		{"all users change, as fast as the server takes it", "rows.ndjson", 30000, "none", every(1)},
		{"compressed by gzip", "rows.ndjson.gz", 10000, cloud, every(10)},
		{"compressed by zstd", "rows.ndjson.zst", 30000, cloud, every(10)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVoyage(t, test.users, test.budget)
				g := v.run(map[string]any{"source": v.rows(test.file, test.users, test.changes)})
				g.check(t, g.twentieth())
				if share, ok := g.pace.share(); test.budget == cloud && (!ok || share < 0.9 || share > 1.02) || test.budget != cloud && ok {
					t.Errorf("%v of the budget is used, known: %v", share, ok)
				}
			})
		})
	}
}

func TestTheTimeLeftOfAFileWhoseRestChangesMoreIsRightAMinuteIntoTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVoyage(t, 12000, cloud)
		g := v.run(map[string]any{"source": v.rows("rows.ndjson", 12000, func(user int) bool { return user >= 9000 })})
		rest := slices.IndexFunc(g.all, func(x guess) bool { return x.last.Changed > 0 })
		if rest <= 0 {
			t.Fatalf("the rest began with guess %d of %d", rest, len(g.all))
		}
		if before := g.all[rest-1]; before.left > g.ended.Sub(before.at)/2 {
			t.Errorf("%v left before the rest, and it was %v: then the file is none that can't be guessed", before.left, g.ended.Sub(before.at))
		}
		g.check(t, g.all[rest].at.Add(recently))
	})
}

func TestTheTimeLeftOfAPlanIsRightHoweverItsFileWasSorted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVoyage(t, 12000, cloud)
		plan := filepath.Join(v.dir, "sync.plan")
		rows := v.rows("rows.ndjson", 12000, func(user int) bool { return user >= 9000 })
		looking := v.run(map[string]any{"action": "plan", "source": rows, "plan": plan})
		looking.check(t, looking.twentieth())
		writing := v.run(map[string]any{"action": "apply", "plan": plan})
		writing.check(t, writing.twentieth())
		want := customdata.Progress{Doing: customdata.ActionApply, Rows: 3000, Changed: 3000, Done: 3000, Size: 3000}
		if last := writing.last.Progress; last != want {
			t.Errorf("at the end: %+v", last)
		}
	})
}
