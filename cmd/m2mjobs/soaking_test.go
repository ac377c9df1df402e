package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/faults"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestASoakOfAFewRounds(t *testing.T) {
	soakFor(t, time.Hour, 5, 1)
}

// soakUsers are the users whose rows are synced, soakRows how many rows a file has at most.
const soakUsers, soakRows = 300, 250

// soak is real jobs at work, one round after the other, while everything that they wait for breaks now and then. Each round is run
// until it is done, however often that takes, and is then compared with what it should have come to.
type soak struct {
	t      *testing.T
	ctx    context.Context
	random *rand.Rand // of the rounds; the proxies have their own
	world  *demo.World
	state  string // the processes' memory of runs
	tenant *faults.Proxy
	shop   *faults.Proxy

	warm     map[string]lambda.Handler // in this process, as in a warm environment
	log      *bytes.Buffer
	want     [soakUsers]soakValue // what the users should have
	day      int                  // grows, so that most rows are newer
	pristine map[string]string    // by day, what daily-orders writes undisturbed
	rest     resources            // when the first rounds were over
	last     resources            // when it was looked last

	rounds, runs, kills, rotations int
	injected, checks               atomic.Int64
}

// soakValue is what a row gives a user.
type soakValue struct {
	AsOf string `json:"asOf"`
	N    int    `json:"n"`
}

// resources are what this process holds.
type resources struct {
	goroutines, files int
	heap              uint64
}

func (r resources) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %.1f MB", r.goroutines, r.files, float64(r.heap)/(1<<20))
}

// soakFor goes on for so long and so many rounds at most.
func soakFor(t *testing.T, length time.Duration, rounds int, seed uint64) {
	t.Logf("M2MJOBS_SEED=%d", seed)
	s := newSoak(t, seed)
	began := time.Now()
	broken, stop := context.WithCancel(t.Context())
	var beside sync.WaitGroup
	beside.Go(func() { s.outages(broken, rand.New(rand.NewPCG(seed, 1))) })
	beside.Go(func() { s.watch(broken, rand.New(rand.NewPCG(seed, 2))) })
	for time.Since(began) < length && s.rounds < rounds && !t.Failed() {
		s.round()
	}
	stop()
	beside.Wait()
	t.Logf("M2MJOBS_SEED=%d: %.1f minutes, %d rounds, %d runs, %d kills, %d rotations, %d faults injected, %d invariant checks",
		seed, time.Since(began).Minutes(), s.rounds, s.runs, s.kills, s.rotations, s.injected.Load(), s.checks.Load())
	t.Logf("M2MJOBS_SEED=%d: held after the first rounds %v, at the end %v", seed, s.rest, s.last)
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{
		t: t, ctx: t.Context(), random: rand.New(rand.NewPCG(seed, 0)), world: newWorld(t, t.TempDir(), nil), state: t.TempDir(),
		warm: map[string]lambda.Handler{}, log: &bytes.Buffer{}, pristine: map[string]string{},
	}
	for i := range s.want {
		s.world.Tenant.AddUser(logtotest.User{ID: userID(i), CustomData: map[string]any{"kept": i}})
	}
	s.tenant, s.shop = s.front(s.world.Tenant.URL, seed+3), s.front(s.world.ShopURL, seed+4)
	for _, app := range []string{function.SyncCustomData, function.DailyOrders} {
		path := s.world.Environment(app)["M2M_SECRET_FILE"]
		secret := must(os.ReadFile(path))(t)
		secret = bytes.ReplaceAll(secret, []byte(s.world.Tenant.URL), []byte(s.tenant.URL))
		if err := os.WriteFile(path, secret, 0o600); err != nil {
			t.Fatal(err)
		}
		store := must(bolt.Open(filepath.Join(t.TempDir(), app+".db")))(t)
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		environment := s.world.Environment(app)
		environment["SHOP_URL"] = s.shop.URL
		s.warm[app] = must(function.Handler(app, environment, func(c *jobs.Config) { c.Store, c.Log = store, s.log }))(t)
	}
	return s
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// front puts a proxy in front of a server, with which one request in forty goes wrong.
func (s *soak) front(address string, seed uint64) *faults.Proxy {
	proxy := must(faults.Start(faults.Config{Upstream: faults.To(address), Slowness: 50 * time.Millisecond}))(s.t)
	s.t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			s.t.Error(err)
		}
	})
	random := rand.New(rand.NewPCG(seed, 0))
	kinds := []faults.Fault{faults.Slow, faults.Reset, faults.Garbage, faults.Status500, faults.Status429}
	proxy.Choose(func(*http.Request) faults.Fault { // one call at a time
		if random.IntN(40) > 0 {
			return ""
		}
		s.injected.Add(1)
		return kinds[random.IntN(len(kinds))]
	})
	return proxy
}

// outages take all of the tenant or the shop away for a moment, every second or two.
func (s *soak) outages(ctx context.Context, random *rand.Rand) {
	kinds := []faults.Fault{faults.Refused, faults.Late, faults.Reset, faults.Status500}
	for {
		proxy := []*faults.Proxy{s.tenant, s.tenant, s.shop}[random.IntN(3)]
		if !pass(ctx, time.Second+time.Duration(random.Int64N(int64(time.Second)))) {
			return
		}
		if err := proxy.Break(kinds[random.IntN(len(kinds))], nil); err != nil {
			s.t.Error(err)
		}
		s.injected.Add(1)
		pass(ctx, 50*time.Millisecond+time.Duration(random.Int64N(int64(250*time.Millisecond))))
		if err := proxy.Mend(); err != nil {
			s.t.Error(err)
		}
	}
}

// watch looks all the time whether a user gets something older than before: the runs are one after the other, so no write may
// come later than a newer one.
func (s *soak) watch(ctx context.Context, random *rand.Rand) {
	var seen [soakUsers]string
	for pass(ctx, time.Millisecond) {
		i := random.IntN(soakUsers)
		now := s.has(i).AsOf
		s.checks.Add(1)
		if now < seen[i] {
			s.t.Errorf("%s had data of %s, and has data of %s: a stale write", userID(i), seen[i], now)
		}
		seen[i] = now
	}
}

// pass lets time pass, and tells whether it did.
func pass(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// has is what the tenant has of a user.
func (s *soak) has(i int) (v soakValue) {
	data, err := json.Marshal(s.world.Tenant.CustomData(userID(i))["orders"])
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		s.t.Error(err)
	}
	return v
}

// round does one piece of work to its end, and looks what it left.
func (s *soak) round() {
	switch s.rounds % 5 {
	case 0:
		s.syncFile()
	case 1:
		s.planAndApply()
	case 2:
		s.dailyOrders()
	case 3:
		s.syncWarm()
	case 4:
		s.rotate()
	}
	s.rounds++
	if s.rounds%5 == 0 {
		s.checkResources()
		if err := os.RemoveAll(filepath.Join(s.world.Dir, "out")); err != nil {
			s.t.Fatal(err)
		}
	}
}

// soakFile is a file of rows: of users, each once, of nobody, and such that are none.
type soakFile struct {
	path string
	rows []string    // the text of each line
	of   []int       // the user of each line; -1: it can't be used
	give []soakValue // what each line gives
}

// file writes one. One row in ten is older than what its user has.
func (s *soak) file() soakFile {
	f := soakFile{path: filepath.Join(s.world.Dir, fmt.Sprintf("soak%06d.ndjson", s.rounds))}
	s.day++
	users := s.random.Perm(soakUsers)[:50+s.random.IntN(soakRows-50)]
	for line, user := range users {
		v := soakValue{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, s.day).Format(time.DateOnly), s.rounds*1000 + line}
		if s.random.IntN(10) == 0 {
			v.AsOf = "1999-01-01"
		}
		row := fmt.Sprintf(`{"id":%q,"customData":{"orders":{"asOf":%q,"n":%d}}}`, userID(user), v.AsOf, v.N)
		switch s.random.IntN(25) {
		case 0:
			row, user = strings.Replace(row, userID(user), fmt.Sprintf("nobody%d", user), 1), -1
		case 1:
			row, user = "not a row "+row, -1
		}
		f.rows, f.of, f.give = append(f.rows, row), append(f.of, user), append(f.give, v)
	}
	s.write(f.path, f.rows)
	return f
}

func (s *soak) write(path string, rows []string) {
	if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// syncFile syncs a file by a process.
func (s *soak) syncFile() {
	f := s.file()
	defer os.Remove(f.path)
	s.syncWhole(f, func() jobs.Report { return s.syncByProcess(f.path) })
}

func (s *soak) syncByProcess(path string) jobs.Report {
	return s.finish(function.SyncCustomData, "sync", "apply", path, "--newer", "orders.asOf", "--json")
}

// syncWhole syncs a file, and what was kept back because of the faults again, until all is written.
func (s *soak) syncWhole(f soakFile, run func() jobs.Report) {
	for s.ctx.Err() == nil && !s.t.Failed() {
		back := s.checkRows(f, run())
		if len(back) == 0 {
			break
		}
		f = f.only(back)
		s.write(f.path, back)
	}
	s.checkUsers()
}

// only is the file with these of its rows.
func (f soakFile) only(rows []string) soakFile {
	part := soakFile{path: f.path, rows: rows}
	for _, row := range rows {
		for line := range f.rows {
			if f.rows[line] == row {
				part.of, part.give = append(part.of, f.of[line]), append(part.give, f.give[line])
			}
		}
	}
	return part
}

// checkRows looks whether each row ended in one count, and each that was not used is kept once. It returns those that the
// faults kept from being written, and notes what the others have come to.
func (s *soak) checkRows(f soakFile, report jobs.Report) (back []string) {
	counts := report.Counts
	sum := counts["changed"] + counts["unchanged"] + counts["stale"] + counts["missing"] + counts["rejected"]
	if counts["rows"] != int64(len(f.rows)) || sum != counts["rows"] {
		s.t.Errorf("run %s: %d rows ended as %v", report.RunID, len(f.rows), counts)
	}
	unused := map[int]bool{}
	if report.Rejected != nil {
		for _, text := range kept(s.t, s.world, report) {
			var r jobs.Rejection
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				s.t.Fatal(err)
			}
			line := int(r.Line) - 1
			if unused[line] {
				s.t.Errorf("run %s: line %d is kept twice", report.RunID, r.Line)
			}
			unused[line] = true
			if strings.HasPrefix(r.Reason, "not written") {
				back = append(back, f.rows[line])
			} else if f.of[line] >= 0 {
				s.t.Errorf("run %s: a good row was not used: %s", report.RunID, r.Reason)
			}
		}
	}
	if int64(len(unused)) != counts["missing"]+counts["rejected"] {
		s.t.Errorf("run %s: %d rows kept of %v", report.RunID, len(unused), counts)
	}
	for line, user := range f.of {
		switch {
		case unused[line]:
		case user < 0:
			s.t.Errorf("run %s: line %d can't have been used", report.RunID, line+1)
		case f.give[line].AsOf >= s.want[user].AsOf:
			s.want[user] = f.give[line]
		}
		s.checks.Add(1)
	}
	return back
}

// checkUsers compares the tenant with what it should have.
func (s *soak) checkUsers() {
	for i, want := range s.want {
		if got := s.has(i); got != want {
			s.t.Errorf("round %d: %s has %v, want %v", s.rounds, userID(i), got, want)
		}
		if kept := s.world.Tenant.CustomData(userID(i))["kept"]; fmt.Sprint(kept) != fmt.Sprint(i) {
			s.t.Errorf("%s lost what the rows don't name", userID(i))
		}
		s.checks.Add(1)
	}
}

// planAndApply makes a plan, which must change nothing, and applies it.
func (s *soak) planAndApply() {
	f := s.file()
	plan := f.path + ".plan"
	defer os.Remove(f.path)
	defer os.Remove(plan)
	s.finish(function.SyncCustomData, "sync", "plan", f.path, "--out", plan, "--newer", "orders.asOf", "--json")
	s.checkUsers()
	report := s.finish(function.SyncCustomData, "sync", "apply", plan, "--json")
	if report.Rejected == nil {
		for line, user := range f.of {
			if user >= 0 && f.give[line].AsOf >= s.want[user].AsOf {
				s.want[user] = f.give[line]
			}
		}
		s.checkUsers()
	}
	// What the faults kept back is in the file as well; the rest is unchanged.
	s.syncWhole(f, func() jobs.Report { return s.syncByProcess(f.path) })
}

// syncWarm syncs a file by the function of this process, whose token and connections are those of the rounds before.
func (s *soak) syncWarm() {
	f := s.file()
	defer os.Remove(f.path)
	event := string(must(json.Marshal(map[string]string{"source": f.path, "newer": "orders.asOf"}))(s.t))
	s.syncWhole(f, func() jobs.Report { return s.invoke(function.SyncCustomData, event) })
}

// invoke invokes a warm function until its run is done.
func (s *soak) invoke(name, event string) (report jobs.Report) {
	for s.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
		answer, err := s.warm[name].Invoke(ctx, []byte(event))
		cancel()
		s.runs++
		s.checkOutput(name, s.log.String())
		s.log.Reset()
		if err == nil {
			if err := json.Unmarshal(answer, &report); err != nil {
				s.t.Error(err)
			}
			break
		}
		pass(s.ctx, time.Second) // a refusal stands for ten
	}
	return report
}

// dailyOrders does a day, by a process and by the warm function, and compares the files with those of an undisturbed run.
func (s *soak) dailyOrders() {
	day := time.Date(1997, 3, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, s.random.IntN(60)).Format(time.DateOnly)
	event := fmt.Sprintf(`{"date":%q}`, day)
	if s.pristine[day] == "" {
		out := s.t.TempDir()
		cmd := s.command(function.DailyOrders, "invoke", function.DailyOrders, "--event", event)
		cmd.Env = append(cmd.Env, "OUTPUT="+out, "SHOP_URL="+s.world.ShopURL, "M2M_SECRET_FILE="+s.direct(out))
		if err := cmd.Run(); err != nil {
			s.t.Fatalf("undisturbed: %v\n%s", err, cmd.Stderr)
		}
		s.pristine[day] = s.files(out, day)
	}
	out := filepath.Join(s.world.Dir, "out")
	for _, run := range []func(){
		func() { s.finish(function.DailyOrders, "invoke", function.DailyOrders, "--event", event) },
		func() { s.invoke(function.DailyOrders, event) },
	} {
		if err := os.RemoveAll(out); err != nil {
			s.t.Fatal(err)
		}
		run()
		if got := s.files(out, day); got != s.pristine[day] || got == "" {
			s.t.Errorf("the files of %s differ from an undisturbed run's", day)
		}
		s.checks.Add(1)
	}
}

// direct is the secret of daily-orders with the address of the tenant itself.
func (s *soak) direct(dir string) string {
	secret := must(os.ReadFile(s.world.Environment(function.DailyOrders)["M2M_SECRET_FILE"]))(s.t)
	path := filepath.Join(dir, "direct.json")
	if err := os.WriteFile(path, bytes.ReplaceAll(secret, []byte(s.tenant.URL), []byte(s.world.Tenant.URL)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// files are the files of a day below a directory, one after the other.
func (s *soak) files(dir, day string) string {
	var all strings.Builder
	for _, path := range must(filepath.Glob(filepath.Join(dir, "*", day+".*")))(s.t) {
		fmt.Fprintf(&all, "%s\n%s\n", filepath.Base(filepath.Dir(path)), must(os.ReadFile(path))(s.t))
	}
	return all.String()
}

// rotate replaces the secret of sync-custom-data. Its next runs take the new one, and the warm one must not notice.
func (s *soak) rotate() {
	s.finish(function.SyncCustomData, "rotate")
	s.rotations++
}

// command is the command as a process that reaches tenant and shop through the proxies.
func (s *soak) command(name string, args ...string) *exec.Cmd {
	cmd := process(s.ctx, s.t, append(args, "--env-file", s.world.EnvironmentFile(name))...)
	cmd.Env = append(cmd.Env, "SHOP_URL="+s.shop.URL)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	return cmd
}

// finish runs a command until it is done, whatever goes wrong, and kills every third start of it. It returns the report.
func (s *soak) finish(name string, args ...string) (report jobs.Report) {
	if args[0] != "rotate" {
		args = append(args, "--state", s.state)
	}
	for range 200 {
		cmd := s.command(name, args...)
		s.runs++
		if s.random.IntN(3) == 0 {
			if killAfter(s.t, cmd, s.world, s.random.IntN(60)) {
				s.kills++
			}
		} else {
			cmd.Run()
		}
		s.checkOutput(args[0], cmd.Stdout.(*bytes.Buffer).String()+cmd.Stderr.(*bytes.Buffer).String())
		switch code := cmd.ProcessState.ExitCode(); {
		case (code == exitDone || code == exitRejected) && args[0] != "rotate":
			return reportOf(s.t, cmd)
		case code == exitDone:
			return report
		case code != exitFailed && code != -1:
			s.t.Fatalf("%v ended with %d\n%s", args, code, cmd.Stderr)
		}
	}
	s.t.Fatalf("%v did not end well in 200 starts", args)
	return report
}

// checkOutput looks for secrets and tokens.
func (s *soak) checkOutput(what, text string) {
	if strings.Contains(text, "logtotestSecret") || regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.`).MatchString(text) {
		s.t.Errorf("%s printed a secret or a token", what)
	}
	s.checks.Add(1)
}

// checkResources compares what this process holds with what it held when all had been done once.
func (s *soak) checkResources() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	now := resources{goroutines: runtime.NumGoroutine(), files: openFiles(), heap: m.HeapAlloc}
	if s.last = now; s.rounds < 10 {
		s.rest = now
		return
	}
	// Connections that are kept come and go.
	if now.goroutines > s.rest.goroutines+150 || now.files > s.rest.files+100 || now.heap > s.rest.heap*3/2+16<<20 {
		s.t.Errorf("after %d rounds: %+v, and after the first %+v", s.rounds, now, s.rest)
	}
	s.checks.Add(3)
}

// openFiles is how many files and connections are open.
func openFiles() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
