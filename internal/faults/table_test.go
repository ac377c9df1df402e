package faults_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/faults"
)

var update = flag.Bool("update", false, "write docs/faults.md anew")

func TestMain(m *testing.M) {
	flag.Parse()
	// The cases wait much and work little. Who gives -parallel gets it.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := flag.Set("test.parallel", "24"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// place is somewhere that the program waits.
type place struct {
	name string
	// waits says what waits there, for how long, and how often it asks.
	waits string
	// never says of a fault why it cannot be met here.
	never map[faults.Fault]string
	// try meets the fault with the real parts, and says what it saw. What it says it has checked.
	try func(t *testing.T, f faults.Fault) cell
}

// cell is what came of a fault.
type cell struct{ sees, kept, goesOn string }

// noThrottle is why places outside AWS don't answer as AWS does.
var noThrottle = map[faults.Fault]string{faults.Throttled: "not a service of AWS: it says 429"}

func places() []place {
	return []place{
		secretsManager(), tokenEndpoint(), jwks(), lookups(), writes(), ownAPI(),
		s3Reading(), s3Writing(), claims(), checkpoints(), eventBridge(), deadLetters(),
	}
}

func TestWhatBecomesOfEachFaultAtEachPlace(t *testing.T) {
	all := places()
	type at struct {
		place int
		fault faults.Fault
	}
	var mu sync.Mutex
	cells := map[at]cell{}
	t.Run("cases", func(t *testing.T) {
		for i, p := range all {
			for _, f := range faults.All() {
				if p.never[f] != "" {
					continue
				}
				t.Run(p.name+"/"+string(f), func(t *testing.T) {
					t.Parallel()
					c := p.try(t, f)
					mu.Lock()
					defer mu.Unlock()
					cells[at{i, f}] = c
				})
			}
		}
	})
	clock := tryClock(t)
	if t.Failed() {
		return // what they saw is not to be written down
	}
	var b strings.Builder
	b.WriteString(preamble)
	for i, p := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| fault | the caller sees | is kept | how it goes on |\n|---|---|---|---|\n", p.name, p.waits)
		for _, f := range faults.All() {
			if why := p.never[f]; why != "" {
				fmt.Fprintf(&b, "| %s | – | – | %s |\n", f, why)
				continue
			}
			c := cells[at{i, f}]
			row(&b, string(f), c)
		}
	}
	b.WriteString("\n## Its own clock\n\n" + clockWaits + "\n\n| fault | the caller sees | is kept | how it goes on |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(clock)) {
		row(&b, name, clock[name])
	}
	b.WriteString("| all others | – | – | a clock has no connection, no name, no certificate and no quota: it can only be wrong |\n")
	fmt.Fprintf(&b, "\n%d cases.\n", len(cells)+len(clock))
	compare(t, "../../docs/faults.md", b.String())
	t.Logf("%d fault cases at %d places", len(cells)+len(clock), len(all)+1)
}

func row(b *strings.Builder, fault string, c cell) {
	for _, text := range []string{fault, c.sees, c.kept, c.goesOn} {
		fmt.Fprintf(b, "| %s ", strings.ReplaceAll(text, "|", `\|`))
	}
	b.WriteString("|\n")
}

// compare holds a file to what the tests say.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not what the tests say (-file +tests); `go test ./internal/faults -update` writes it anew:\n%s", file, diff)
	}
}

// front starts a proxy with TLS in front of upstream, and a client of it that counts its attempts.
func front(t *testing.T, upstream http.Handler, fail func(http.ResponseWriter, faults.Fault)) (*faults.Proxy, *counted) {
	t.Helper()
	proxy, err := faults.Start(faults.Config{Upstream: upstream, Fail: fail, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	return proxy, &counted{base: proxy.Transport()}
}

// counted counts what is sent, and lets before see it.
type counted struct {
	base   http.RoundTripper
	before func(*http.Request)
	n      atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.before != nil {
		c.before(r)
	}
	c.n.Add(1)
	return c.base.RoundTrip(r)
}

func (c *counted) client() *http.Client { return &http.Client{Transport: c} }

// breaks begins a fault.
func breaks(t *testing.T, p *faults.Proxy, f faults.Fault, meets func(*http.Request) bool) {
	t.Helper()
	if err := p.Break(f, meets); err != nil {
		t.Fatal(err)
	}
}

func mend(t *testing.T, p *faults.Proxy) {
	t.Helper()
	if err := p.Mend(); err != nil {
		t.Fatal(err)
	}
}

// tookEffect tells of a fault whether the request did what it was for, though its caller did not learn of it.
func tookEffect(f faults.Fault) bool { return f == faults.Reset || f == faults.Late }

// patience is how long a caller waits: as long as its attempts take, but where no answer comes.
func patience(t *testing.T, f faults.Fault, most time.Duration) context.Context {
	if f == faults.Late {
		most = 4 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), most)
	t.Cleanup(cancel)
	return ctx
}

// seen is a caller's error and the attempts that it took, with nothing in it that differs from one run to the next.
func seen(t *testing.T, err error, attempts int64) string {
	t.Helper()
	if err == nil {
		return fmt.Sprintf("nothing but the time%s", times(attempts))
	}
	return "`" + plain(t, err.Error()) + "`" + times(attempts)
}

func times(attempts int64) string {
	switch attempts {
	case 0:
		return ""
	case 1:
		return " (1 attempt)"
	}
	return fmt.Sprintf(" (%d attempts)", attempts)
}

// plain leaves out of a message what differs, after seeing that there is no secret and no token in it.
func plain(t *testing.T, text string) string {
	t.Helper()
	if strings.Contains(text, "logtotestSecret") || regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.`).MatchString(text) {
		t.Error("a secret or a token is in what the caller sees")
	}
	if strings.Contains(text, "Welcome") {
		t.Error("an answer is quoted in what the caller sees")
	}
	for _, differs := range [][2]string{
		{`faults\.example:\d+`, "HOST"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`read tcp \S+->\S+: `, ""},
		{`(lookup \S+) on \S+:`, "$1:"},
		{`RequestID: [^,]*, (HostID: [^,]*, )?`, ""},
		{`\(request id \S+\)`, "(request id ID)"},
		{`app [a-z0-9]{21}`, "app ID"},
		{`run \d{8}T\d{6}Z-\w+`, "run ID"},
		{`params/[0-9a-f]{32}`, "params/DIGEST"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "TIME"},
		// Two rows are written at a time.
		{`line [12]\b`, "line N"},
		{`u0000000000[01]`, "USER"},
	} {
		text = regexp.MustCompile(differs[0]).ReplaceAllString(text, differs[1])
	}
	return strings.Join(strings.Fields(text), " ")
}

// clock is a wall clock that jumps.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time        { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) jump(by time.Duration) { c.ahead.Add(int64(by)) }

const preamble = `# Faults

What becomes of each fault, at each place where the program waits for something. ` + "`go test ./internal/faults -update`" + ` writes this file:
each line is what a test saw, with the real parts in front of a server that breaks over real connections, and the test fails when it sees
something else. Messages are quoted as they are, but for addresses and ids. ` + "`make soak`" + ` mixes the faults at random.

The AWS SDK repeats requests itself (mode ` + "`standard`" + `: 3 attempts, with pauses of up to 20 s between them that grow at random). The
attempts are counted below, with shorter pauses. They end with the caller's deadline, whatever the SDK has left.
`
