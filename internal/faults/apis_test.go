package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/faults"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// invocation is how long a job has here: longer than the pauses between its attempts, which are 7 seconds after a 429.
const invocation = time.Minute

// invoke runs a job and returns its report, after a look for secrets in its log.
func invoke(ctx context.Context, t *testing.T, h lambda.Handler, log *bytes.Buffer, event string) (jobs.Report, error) {
	t.Helper()
	answer, err := h.Invoke(ctx, []byte(event))
	plain(t, log.String())
	var report jobs.Report
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &report); err != nil {
			t.Fatalf("the report: %v", err)
		}
	}
	return report, err
}

// syncing is sync-custom-data on two users of a tenant behind a proxy.
type syncing struct {
	tenant  *logtotest.Tenant
	proxy   *faults.Proxy
	sent    *counted
	handler lambda.Handler
	log     bytes.Buffer
	files   *files.Files
	ids     [2]string
}

func newSyncing(t *testing.T) *syncing {
	tenant, c := newTenant(t)
	s := &syncing{tenant: tenant, files: files.New(nil)}
	for i := range s.ids {
		s.ids[i] = tenant.AddUser(logtotest.User{ID: fmt.Sprintf("u%011d", i)})
	}
	s.proxy, s.sent = front(t, faults.To(tenant.URL), nil)
	c.Endpoint = s.proxy.URL
	source, _ := newSource(t, m2m.StaticCredentials(c), s.sent.client())
	accessToken(t, source)
	transport := &m2m.Transport{Source: source, Base: s.sent}
	out := t.TempDir()
	job := customdata.Job(customdata.Config{
		Client: func(context.Context) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: s.proxy.URL, HTTPClient: &http.Client{Transport: transport}})
		},
		Files: s.files, Output: out,
	})
	s.handler = jobs.Handler(job, jobs.Config{
		Log: &s.log, Margin: time.Second, Settle: source.Wait,
		Keep: func(ctx context.Context, name string, data []byte) (string, error) {
			return s.files.Put(ctx, out, name, data)
		},
	})
	return s
}

const twoRows = `{"rows":[{"id":"u00000000000","customData":{"plan":"pro"}},{"id":"u00000000001","customData":{"plan":"pro"}}]}`

// written is how many of the two users have their row.
func (s *syncing) written() (n int) {
	for _, id := range s.ids {
		if s.tenant.CustomData(id)["plan"] == "pro" {
			n++
		}
	}
	return n
}

// outcome is what an operator is told by report and error.
func outcome(t *testing.T, report jobs.Report, err error, attempts int64) string {
	t.Helper()
	if err != nil {
		return seen(t, err, attempts)
	}
	if report.Rejected != nil && len(report.Rejected.Some) > 0 {
		reason := errors.New(report.Rejected.Some[0].Reason)
		return fmt.Sprintf("the run is done, with %d rows kept back: %s", report.Rejected.Rows, seen(t, reason, attempts))
	}
	return seen(t, nil, attempts)
}

func lookups() place {
	return place{
		name: "Logto's API, looking users up",
		waits: "A run of `sync-custom-data` that reads 100 users with a request: 60 seconds an attempt, 4 attempts, never " +
			"past the invocation's deadline, before which the run stops by itself.",
		never: noThrottle,
		try: func(t *testing.T, f faults.Fault) cell {
			s := newSyncing(t)
			breaks(t, s.proxy, f, nil)
			before := s.sent.n.Load()
			report, err := invoke(patience(t, f, invocation), t, s.handler, &s.log, twoRows)
			attempts := s.sent.n.Load() - before
			if f == faults.Slow {
				if err != nil || s.written() != 2 {
					t.Errorf("%d written, %v", s.written(), err)
				}
				return cell{outcome(t, report, err, 0), "all", "it is done"}
			}
			if err == nil || s.written() != 0 {
				t.Errorf("%d users written, error %v", s.written(), err)
			}
			mend(t, s.proxy)
			again, errAgain := invoke(patience(t, "", time.Minute), t, s.handler, &s.log, twoRows)
			if errAgain != nil || s.written() != 2 || again.Attempt != 2 {
				t.Errorf("again: %d users written in attempt %d, %v", s.written(), again.Attempt, errAgain)
			}
			return cell{
				outcome(t, report, err, attempts),
				"where it was; no user is written",
				"the next attempt of the same run (Lambda's, or the same command) does all rows",
			}
		},
	}
}

func writes() place {
	return place{
		name:  "Logto's API, writing users",
		waits: "The same run, at its first write. Merging the same twice is merging it once, so writes are repeated as well.",
		never: noThrottle,
		try: func(t *testing.T, f faults.Fault) cell {
			s := newSyncing(t)
			var broken sync.Once
			s.sent.before = func(r *http.Request) {
				if r.Method == http.MethodPatch {
					broken.Do(func() { breaks(t, s.proxy, f, func(r *http.Request) bool { return r.Method == http.MethodPatch }) })
				}
			}
			var writes int64
			report, err := invoke(patience(t, f, invocation), t, s.handler, &s.log, twoRows)
			writes = s.sent.n.Load() - 2 // a token and a lookup
			if f == faults.Slow {
				if err != nil || s.written() != 2 {
					t.Errorf("%d written, %v", s.written(), err)
				}
				return cell{outcome(t, report, err, 0), "all", "it is done"}
			}
			written := s.written() // when time was up, one of the writes may have been on its way
			if tookEffect(f) != (written > 0) || f == faults.Reset && written != 2 {
				t.Errorf("%d users written", written)
			}
			mend(t, s.proxy)
			c := cell{sees: outcome(t, report, err, writes)}
			if f == faults.Late {
				// Which of an invocation's two timers ends it decides about the words before and after these.
				said := regexp.MustCompile(`writing the user of line N: [^;]*context deadline exceeded`).FindString(c.sees)
				if said == "" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("it ended with %v", err)
				}
				c.sees = "`" + said + "`" + times(writes)
			}
			event := twoRows
			if err == nil {
				// The rows that were kept back are rows, and are given again as they are.
				event = rowsOf(t, s, report)
				c.kept = "both rows, in the run's file of rejected rows with this reason"
				c.goesOn = "the file is synced again as it is"
			} else {
				c.kept = "where it was: the rows are not counted as done"
				c.goesOn = "the next attempt of the same run writes them"
			}
			if tookEffect(f) {
				c.kept += "; the writes took effect, their answers were lost"
				c.goesOn = "the next attempt of the same run finds them unchanged"
			}
			again, errAgain := invoke(patience(t, "", time.Minute), t, s.handler, &s.log, event)
			if errAgain != nil || s.written() != 2 || again.Rejected != nil {
				t.Errorf("again: %d users written, %v, rejected %+v", s.written(), errAgain, again.Rejected)
			}
			if n := again.Counts["unchanged"]; n < int64(written) || !tookEffect(f) && n != 0 {
				t.Errorf("again: %v", again.Counts)
			}
			return c
		},
	}
}

// rowsOf makes an event of the rows that a run kept back.
func rowsOf(t *testing.T, s *syncing, report jobs.Report) string {
	t.Helper()
	if report.Rejected == nil || report.Rejected.Rows != 2 || report.Counts["rows"] != 2 {
		t.Fatalf("2 rows went in, %+v came out: %v", report.Rejected, report.Counts)
	}
	var rows []json.RawMessage
	for _, where := range report.Rejected.Kept {
		file, err := s.files.Open(t.Context(), where, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for decoder := json.NewDecoder(file); decoder.More(); {
			var kept struct{ Row json.RawMessage }
			if err := decoder.Decode(&kept); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, kept.Row)
		}
		file.Close()
	}
	event, err := json.Marshal(map[string]any{"rows": rows})
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows kept, %v", len(rows), err)
	}
	return string(event)
}

func ownAPI() place {
	return place{
		name: "Own API",
		waits: "A run of `daily-orders` that reads a day's orders: 60 seconds an attempt, 4 attempts, never past the " +
			"invocation's deadline.",
		never: noThrottle,
		try: func(t *testing.T, f faults.Fault) cell {
			tenant := logtotest.New(t)
			tenant.AddResource(shop.Resource, shop.ScopeReadOrders)
			app := tenant.AddApp("daily-orders")
			tenant.Grant(app.ID, shop.Resource, shop.ScopeReadOrders)
			verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: tenant.Issuer(), Audience: shop.Resource, HTTPClient: tenant.Client()})
			if err != nil {
				t.Fatal(err)
			}
			proxy, sent := front(t, shop.NewHandler(verifier, []shop.Order{
				{ID: "1", CustomerID: "c1", CustomerEmail: "ann@example.com", PlacedOn: "2026-11-23", Quantity: 1, TotalCents: 999, Currency: "USD"},
			}), nil)
			source, err := m2m.NewSource(m2m.Config{
				Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
				Resource:    shop.Resource, Scopes: []string{shop.ScopeReadOrders}, HTTPClient: tenant.Client(),
			})
			if err != nil {
				t.Fatal(err)
			}
			client, err := shop.NewClient(proxy.URL, &http.Client{Transport: &m2m.Transport{Source: source, Origin: proxy.URL, Base: sent}})
			if err != nil {
				t.Fatal(err)
			}
			written := map[string]bool{}
			var log bytes.Buffer
			handler := jobs.Handler(orders.Job(orders.Config{
				Shop: client,
				Put: func(_ context.Context, name string, _ []byte) (string, error) {
					written[name] = true
					return name, nil
				},
			}), jobs.Config{Log: &log, Margin: time.Second, Settle: source.Wait})
			accessToken(t, source)

			const day = `{"date":"2026-11-23"}`
			breaks(t, proxy, f, nil)
			report, err := invoke(patience(t, f, invocation), t, handler, &log, day)
			attempts := sent.n.Load()
			if f == faults.Slow {
				if err != nil || len(written) != 2 {
					t.Errorf("%d files, %v", len(written), err)
				}
				return cell{outcome(t, report, err, 0), "all", "it is done"}
			}
			if err == nil || len(written) != 0 {
				t.Errorf("files %v, error %v", written, err)
			}
			mend(t, proxy)
			if again, err := invoke(t.Context(), t, handler, &log, day); err != nil || len(written) != 2 || again.Attempt != 2 {
				t.Errorf("again: %v, %v", written, err)
			}
			return cell{
				outcome(t, report, err, attempts),
				"nothing: files are written when everything is there",
				"the next attempt does the day",
			}
		},
	}
}
