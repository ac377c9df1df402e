package simulate_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1) // see the package comment
	goleak.VerifyTestMain(m)
}

// scenarios are all there are for that many users.
func scenarios(users int) (all []scenario) {
	for _, cloud := range []bool{true, false} {
		for _, percent := range []int{1, 100} {
			all = append(all, scenario{users: users, percent: percent, cloud: cloud, timeout: longest})
		}
	}
	return all
}

func TestAThousandUsers(t *testing.T) {
	for _, c := range scenarios(1000) {
		t.Run(fmt.Sprintf("%s, %d %% changed", c.tenant(), c.percent), func(t *testing.T) {
			c.timeout = 40 * time.Second // the 100 seconds at Logto Cloud's limit take three of them
			f := simulate(t, c)
			faults := len(c.faults())
			rounds := 1
			if c.cloud && c.percent == 100 {
				rounds = 3
			}
			// A continuation reads again what was under way.
			if f.writes != c.changes()+faults || f.reads < 10 || f.reads > 10*rounds || f.tokens != 1 || f.invocations != rounds {
				t.Errorf("%d changes with %d faults: %+v", c.changes(), faults, f)
			}
			// Ten a second, but the first few, and those that net/http repeats at once after a cut connection.
			if least := time.Duration(f.requests()-faults-5) * time.Second / 10; c.cloud && (f.took < least || f.took > least+4*time.Second) {
				t.Errorf("%d requests took %v at ten a second", f.requests(), f.took)
			}
			again := simulate(t, c)
			// Whether a lookup was under way when an invocation ended, a busy machine may decide otherwise: see the package comment.
			drift, reads := (again.took - f.took).Abs(), max(again.reads, f.reads)-min(again.reads, f.reads)
			again.took, again.reads = f.took, f.reads
			if reads >= rounds || drift > 50*time.Millisecond+time.Duration(reads)*time.Second/10 || again != f {
				t.Errorf("a second time: %+v but for %d reads and %v of time, the first time %+v", again, reads, drift, f)
			}
		})
	}
}

func TestSizesThatDifferAreToldApart(t *testing.T) {
	many := figures{reads: 2000, writes: 200_000, took: time.Hour}
	for name, c := range map[string]struct {
		few figures
		ok  bool
	}{
		"a tenth":              {figures{reads: 200, writes: 20_000, took: 6 * time.Minute}, true},
		"a start":              {figures{reads: 200, writes: 20_000, took: 6*time.Minute + startTime}, true},
		"1 % fewer requests":   {figures{reads: 200, writes: 19_750, took: 6 * time.Minute}, false},
		"1 % more time":        {figures{reads: 200, writes: 20_000, took: 6*time.Minute + 4*time.Second}, false},
		"1 % less time":        {figures{reads: 200, writes: 20_000, took: 6*time.Minute - 4*time.Second}, false},
		"within 1 % of either": {figures{reads: 201, writes: 20_100, took: 6*time.Minute + 3*time.Second}, true},
	} {
		if requests, took, err := c.few.compare(many, 10); (err == nil) != c.ok {
			t.Errorf("%s: %+.4f requests, %+.4f time, error %v", name, requests, took, err)
		}
	}
}

func TestFiguresAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		3454 * time.Millisecond:  "3.45 s",
		39887 * time.Millisecond: "39.9 s",
		402 * time.Second:        "6.70 min",
		20497 * time.Second:      "5.69 h",
		285 * time.Hour:          "285 h",
	} {
		if got := readable(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := thousands(10_234_567); got != "10,234,567" {
		t.Error(got)
	}
}
