package rotation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// ours are those of the secrets that rotations made.
func ours(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "m2mjobs-") })
}

func TestAnOldSecretIsDeletedOnlyWhenItIsOldEnoughAndIdle(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		old, copied := ours(w.secrets())[0], w.file()
		user := w.function(w.base)
		w.invoke(user)
		w.rotate()

		kept := func(what, why string) {
			t.Helper()
			done := w.clean()
			if len(done.Deleted) > 0 || len(done.Kept) != 1 || done.Kept[0].Name != old || !strings.Contains(done.Kept[0].Why, why) {
				t.Errorf("%s: %+v, want %s kept because %q", what, done, old, why)
			}
		}
		kept("at once", "was changed 0s ago")
		time.Sleep(quiet - time.Minute)
		kept("almost old enough", "not before 25h0m0s")

		// Somebody has a copy of it.
		w.use(copied)
		time.Sleep(2 * time.Hour)
		kept("used an hour ago", "used or made less than 25h0m0s ago")
		time.Sleep(quiet)
		if done := w.clean(); !slices.Equal(done.Deleted, []string{old}) || len(done.Kept) > 0 {
			t.Errorf("idle: %+v, want %s deleted", done, old)
		}
		if again := w.clean(); len(again.Deleted)+len(again.Kept) > 0 {
			t.Errorf("again: %+v", again)
		}
		w.invoke(user)
	})
}

func TestADryRunDeletesNothingAndSaysWhat(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		w.rotate()
		time.Sleep(quiet + time.Hour)
		before := w.secrets()
		done, err := w.rotation(nil).Clean(w.Context(), true)
		if err != nil || len(done.Deleted) != 1 {
			t.Errorf("%+v, %v; want one that would be deleted", done, err)
		}
		if after := w.secrets(); !slices.Equal(before, after) {
			t.Errorf("it had %q and has %q", before, after)
		}
	})
}

func TestSecretsOfOthersAreNeverTouched(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		mine := ours(w.secrets())[0]
		others := []string{
			logtotest.DefaultSecret,
			"by hand",
			"m2mjobs",
			"m2mjobs-",
			// Another place whose name is the same: in another account, or a file in another folder.
			strings.Replace(mine, mine[len(mine)-45:len(mine)-37], "00000000", 1),
			"x" + mine,
		}
		for _, name := range others[1:] {
			w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: name})
		}
		for range 3 {
			w.rotate()
			time.Sleep(2 * quiet)
			w.clean()
		}
		left := w.secrets()
		for _, name := range others {
			if !slices.Contains(left, name) {
				t.Errorf("%q is gone", name)
			}
		}
		if len(left) != len(others)+1 {
			t.Errorf("the app has %q", left)
		}
	})
}

func TestTheSecretInUseIsKnownByItsValueToo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		name := ours(w.secrets())[0]
		// Somebody restores the file from a copy in which it has another version.
		fields := w.file()
		fields["version"] = "restored"
		w.writeFile(fields)
		time.Sleep(2 * quiet)
		if done := w.clean(); len(done.Deleted)+len(done.Kept) > 0 {
			t.Errorf("%+v: what is in use is taken for what was left", done)
		}
		if !slices.Contains(w.secrets(), name) {
			t.Errorf("%s is gone", name)
		}
	})
}

func TestAPendingSecretIsNotCleaned(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		r := w.rotation(nil)
		if err := r.Create(w.Context(), "stalled"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * quiet)
		if done := w.clean(); len(done.Deleted)+len(done.Kept) > 0 {
			t.Errorf("%+v, want nothing to clean", done)
		}
		if done, err := w.rotation(nil).Rotate(w.Context(), "another", false); err != nil || done.Version != "stalled" || !done.Resumed {
			t.Errorf("a rotation goes on with %+v, %v; want the one that stalled", done, err)
		}
	})
}

// announcing is a place where a rotation has begun that has put no value there yet, as Secrets Manager makes it.
type announcing struct {
	rotation.Place
	version string
}

func (a announcing) State(ctx context.Context) (rotation.State, error) {
	s, err := a.Place.State(ctx)
	s.Versions = append(s.Versions, rotation.Version{ID: a.version, Labels: []string{rotation.Pending}})
	return s, err
}

// begin has a rotation die between the secret in Logto and the version in the place.
func (w *world) begin(version string) {
	w.Helper()
	l := &life{}
	r := w.rotation(l)
	for l.dieAt = 1; len(ours(w.secrets())) == 0; l.dieAt++ {
		l.points, l.dead, l.after = 0, false, true
		if err := r.Create(w.Context(), version); err == nil {
			w.Fatal("it did not die")
		}
	}
}

func TestWhatADeadRotationMadeIsDeletedLater(t *testing.T) {
	inWorld(t, func(w *world) {
		w.use(w.file())        // so that the log reaches back
		time.Sleep(10 * quiet) // the place was not changed for long, and is not now
		w.begin("dead")
		orphan := ours(w.secrets())[0]
		time.Sleep(time.Minute)
		if done := w.clean(); len(done.Deleted) > 0 || len(done.Kept) != 1 {
			t.Errorf("at once: %+v, want it kept: the rotation may be about to go on", done)
		}
		time.Sleep(quiet)
		if done := w.clean(); !slices.Equal(done.Deleted, []string{orphan}) {
			t.Errorf("later: %+v, want %s deleted", done, orphan)
		}
	})
}

func TestTheSecretOfAVersionThatWasAnnouncedIsNotCleaned(t *testing.T) {
	inWorld(t, func(w *world) {
		w.begin("announced")
		time.Sleep(10 * quiet)
		r := w.rotation(nil)
		r.Place = announcing{r.Place, "announced"}
		if done, err := r.Clean(w.Context(), false); err != nil || len(done.Deleted)+len(done.Kept) > 0 {
			t.Errorf("%+v, %v; want nothing to clean", done, err)
		}
		if err := r.Create(w.Context(), "announced"); err != nil {
			t.Errorf("the rotation does not go on: %v", err)
		}
	})
}

func TestNothingIsDeletedWithoutAProof(t *testing.T) {
	logs := "GET /api/logs"
	for name, test := range map[string]struct {
		spoil func(w *world)
		want  string // in the error; empty: there is none, and it is kept
	}{
		"the log cannot be read": {func(w *world) { w.tenant.Inject(logtotest.Fault{Route: logs, Status: 500, Times: -1}) }, "audit log"},
		"the log is empty":       {func(w *world) { w.tenant.Inject(logtotest.Fault{Route: logs, Status: 200, Body: "[]"}) }, "it proves nothing"},
		"the log knows others alone": {func(w *world) {
			w.tenant.Inject(logtotest.Fault{Route: logs, Status: 200, Body: `[{"createdAt": 946684800000, "payload": {"applicationSecret": {"name": "x"}}}]`})
		}, "it proves nothing"},
		"the current secret was deleted": {func(w *world) {
			names := ours(w.secrets())
			w.tenant.DeleteSecret(w.app.ID, names[len(names)-1])
		}, "ErrWrongSecret"},
		"no token": {func(w *world) {
			w.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", After: 1, Status: 503, Times: -1})
		}, "without which no other is deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.rotate()
				w.rotate()
				time.Sleep(2 * quiet)
				before := len(w.secrets())
				test.spoil(w)
				spoilt := len(w.secrets())
				done, err := w.rotation(nil).Clean(w.Context(), false)
				switch {
				case test.want == "ErrWrongSecret":
					if !errors.Is(err, m2m.ErrWrongSecret) {
						t.Errorf("%v, want ErrWrongSecret", err)
					}
				case err == nil || !strings.Contains(err.Error(), test.want):
					t.Errorf("%v, want an error that says %q", err, test.want)
				}
				if len(done.Deleted) > 0 || len(w.secrets()) != spoilt {
					t.Errorf("of %d secrets, %d after the spoiling, %d are left", before, spoilt, len(w.secrets()))
				}
			})
		})
	}
}

func TestALogThatDoesNotReachBackProvesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		w.rotate()
		time.Sleep(2 * quiet)
		// Nothing but what was logged just now: as with a plan that keeps the log for a day.
		now := time.Now().Add(time.Second).UnixMilli()
		current := ours(w.secrets())[1]
		w.tenant.Inject(logtotest.Fault{Route: "GET /api/logs", Status: 200,
			Body: `[{"createdAt": ` + strconv.FormatInt(now, 10) + `, "payload": {"applicationSecret": {"name": "` + current + `"}}}]`})
		done, err := w.rotation(nil).Clean(w.Context(), false)
		if err != nil || len(done.Deleted) > 0 || len(done.Kept) != 1 || !strings.Contains(done.Kept[0].Why, "reaches back") {
			t.Errorf("%+v, %v; want it kept", done, err)
		}
	})
}

func TestCleaningWithNothingToCleanCostsNoTokenOfItsOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		time.Sleep(quiet)
		before := w.tenant.Requests("POST /oidc/token")
		done := w.clean()
		if done.Age != quiet {
			t.Errorf("the secret's age is %v, want %v", done.Age, quiet)
		}
		if n := w.tenant.Requests("POST /oidc/token") - before; n != 1 { // the one for access
			t.Errorf("%d tokens", n)
		}
	})
}

// TestAnyOrderOfRotationsDeathsAndDaysKeepsTheSecretInUse draws what happens at random, with a seed that is printed.
func TestAnyOrderOfRotationsDeathsAndDaysKeepsTheSecretInUse(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	inWorld(t, func(w *world) {
		load := w.load()
		for range 30 {
			l := &life{dieAt: random.IntN(40), after: random.IntN(2) == 0}
			load.watch(l)
			err := processes[random.IntN(2)].run(w, l, versionOf(random))
			if err != nil && !l.dead {
				t.Errorf("%v, after %v", err, l.log)
			}
			load.pass(time.Duration(random.IntN(40)) * time.Hour)
		}
		load.pass(quiet)
		w.rotate()
		load.pass(2 * quiet)
		w.clean()
		if names := w.secrets(); len(names) != 2 {
			t.Errorf("left are %q", names)
		}
		t.Logf("%d invocations", w.invocations)
	})
}

func versionOf(random *rand.Rand) string { return "v" + strconv.Itoa(random.IntN(1e9)) }
