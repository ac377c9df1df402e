package rotation_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// load is a function that was warm before the rotation, one that is invoked now and then, and one that starts cold each time.
type load struct {
	*world
	warm, seldom *function
	calls        int
}

func (w *world) load() *load {
	l := &load{world: w, warm: w.function(w.base), seldom: w.function(w.base)}
	w.invoke(l.warm)
	w.invoke(l.seldom)
	return l
}

// now invokes the warm function with its token, and by turns with its next token or a cold one.
func (l *load) now() {
	l.invoke(l.warm)
	if l.calls++; l.calls%2 == 0 {
		l.invoke(l.function(l.base))
		return
	}
	token, err := l.warm.source.Token(l.Context())
	if err != nil {
		l.Error(err)
		return
	}
	l.warm.source.Invalidate(token.AccessToken)
	l.invoke(l.warm)
}

// pass lets time pass, with an invocation every half hour.
func (l *load) pass(d time.Duration) {
	for range d / (30 * time.Minute) {
		time.Sleep(30 * time.Minute)
		l.invoke(l.warm)
	}
}

// watch makes each deletion be looked at by the audit log, right before it takes effect.
func (l *load) watch(of *life) {
	of.between = func() {
		l.now()
		what := of.log[len(of.log)-1]
		_, name, deletes := strings.Cut(what, "DELETE …/secrets/")
		if !deletes {
			return
		}
		if since := time.Since(l.lastUse(name)); since < quiet {
			l.Errorf("%s is deleted %v after its last use", name, since)
		}
		if name == logtotest.DefaultSecret || !strings.HasPrefix(name, "m2mjobs-") {
			l.Errorf("%s is deleted, which was made by somebody else", name)
		}
	}
}

// process is what a process does: a rotation of a version, or a cleaning.
type process struct {
	name string
	run  func(w *world, l *life, version string) error
}

var processes = []process{
	{"rotation", func(w *world, l *life, version string) error {
		_, err := w.rotation(l).Rotate(w.Context(), version, false)
		return err
	}},
	{"cleaning", func(w *world, l *life, _ string) error {
		_, err := w.rotation(l).Clean(w.Context(), false)
		return err
	}},
}

// TestNoInvocationFailsWhereverARotationDies kills the rotation, and the cleaning after it, after each of their reads,
// writes and requests, before it has learnt what came of it, while functions are invoked at each of these points and for days
// after; then another process goes on, as Secrets Manager's does, with the version there is, or, as a person's, with a new one.
func TestNoInvocationFailsWhereverARotationDies(t *testing.T) {
	invocations, deaths, rotations := 0, 0, 0
	for _, killed := range processes {
		for point := 1; ; point++ {
			more := false
			t.Run(fmt.Sprintf("%s %d", killed.name, point), func(t *testing.T) {
				inWorld(t, func(w *world) {
					load := w.load()
					w.rotate() // the secret of the app's maker is none to clean
					load.pass(2 * time.Hour)
					sleeper := w.function(w.base)
					w.invoke(sleeper)
					version := rand.Text()
					for _, p := range processes {
						if p.name == "cleaning" {
							load.pass(quiet + time.Hour)
						}
						first := &life{}
						if p.name == killed.name {
							first.dieAt, first.after = point, true
						}
						load.watch(first)
						err := p.run(w, first, version)
						more = more || first.dead
						if (err != nil) != first.dead {
							t.Errorf("%s: died: %t, and ended with %v, after %v", p.name, first.dead, err, first.log)
						}
						if !first.dead {
							continue
						}
						deaths++
						load.pass(time.Hour)
						if point%2 == 0 {
							version = rand.Text()
						}
						second := &life{}
						load.watch(second)
						if err := p.run(w, second, version); err != nil {
							t.Errorf("%s again: %v, after %v", p.name, err, second.log)
						}
					}
					rotations += 2
					if left := len(w.secrets()); killed.name == "cleaning" && left != 2 {
						t.Errorf("%d secrets after the cleaning, want 2", left)
					}
					w.rotate()
					rotations++
					load.pass(quiet + time.Hour)
					last := &life{}
					load.watch(last)
					if err := processes[1].run(w, last, ""); err != nil {
						t.Error(err)
					}
					// What read its secret before the rotation and has slept since.
					w.invoke(sleeper)
					w.invoke(load.seldom)
					load.pass(2 * time.Hour)
					if names := w.secrets(); len(names) != 2 || !slices.Contains(names, logtotest.DefaultSecret) {
						t.Errorf("the app's secrets are %q, want that of its maker and the current one", names)
					}
					invocations += w.invocations
				})
			})
			if !more {
				break
			}
		}
	}
	t.Logf("%d invocations over %d rotations, with %d deaths", invocations, rotations, deaths)
	if deaths < 25 {
		t.Errorf("only %d deaths: the points were not all met", deaths)
	}
}
