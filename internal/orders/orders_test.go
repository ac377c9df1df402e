package orders_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a tenant, a shop that trusts it, and an app that may read the shop's orders: all real, over HTTP.
type world struct {
	tenant *logtotest.Tenant
	source *m2m.Source
	config orders.Config
	files  map[string]string
	puts   []string // the names, in the order in which they were written
}

func newWorld(t testing.TB, sold []shop.Order) *world {
	t.Helper()
	tenant := logtotest.New(t)
	tenant.AddResource(shop.Resource, shop.ScopeReadOrders)
	app := tenant.AddApp("daily-orders")
	tenant.Grant(app.ID, shop.Resource, shop.ScopeReadOrders)
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer: tenant.Issuer(), Audience: shop.Resource, HTTPClient: tenant.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    shop.Resource,
		Scopes:      []string{shop.ScopeReadOrders},
		HTTPClient:  tenant.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(shop.NewHandler(verifier, sold))
	t.Cleanup(api.Close)
	w := &world{tenant: tenant, source: source}
	w.useShop(t, api.URL, &m2m.Transport{Source: source, Origin: api.URL, Base: api.Client().Transport})
	return w
}

// strangeWorld has a shop that answers what the test says, by path.
func strangeWorld(t *testing.T, answers map[string]string) *world {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answers[r.URL.Path]) }))
	t.Cleanup(api.Close)
	w := &world{}
	w.useShop(t, api.URL, api.Client().Transport)
	return w
}

func (w *world) useShop(t testing.TB, address string, transport http.RoundTripper) {
	t.Helper()
	client, err := shop.NewClient(address, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	w.files = make(map[string]string)
	w.config = orders.Config{
		Shop: client,
		Put: func(_ context.Context, name string, data []byte) (string, error) {
			w.files[name] = string(data)
			w.puts = append(w.puts, name)
			return "out/" + name, nil
		},
	}
}

// run invokes the job's handler, as Lambda would.
func (w *world) run(t *testing.T, payload string) (jobs.Report, error) {
	t.Helper()
	return w.runUntil(t.Context(), t, payload, time.Now)
}

// runUntil runs with a context and a clock of the framework.
func (w *world) runUntil(ctx context.Context, t *testing.T, payload string, now func() time.Time) (jobs.Report, error) {
	t.Helper()
	handler := jobs.Handler(orders.Job(w.config), jobs.Config{Log: io.Discard, Now: now})
	answer, failure := handler.Invoke(ctx, []byte(payload))
	var report jobs.Report
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &report); err != nil {
			t.Fatalf("the report is no JSON: %v", err)
		}
	}
	return report, failure
}

func (w *world) mustRun(t *testing.T, payload string) jobs.Report {
	t.Helper()
	report, err := w.run(t, payload)
	if err != nil || report.Outcome != jobs.OutcomeDone {
		t.Fatalf("the run is %q: %v", report.Outcome, err)
	}
	return report
}

func realOrders(t testing.TB) []shop.Order {
	t.Helper()
	sold, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	return sold
}

func order(id, customer, day string, quantity, cents int64) shop.Order {
	return shop.Order{
		ID: id, CustomerID: customer, CustomerEmail: shop.EmailOf(customer), PlacedOn: day,
		Quantity: quantity, TotalCents: cents, Currency: shop.Currency,
	}
}

// wantResult compares the report's result with the one wanted.
func wantResult(t *testing.T, report jobs.Report, want orders.Result) {
	t.Helper()
	var got orders.Result
	if err := json.Unmarshal(report.Result, &got); err != nil {
		t.Fatalf("result %s: %v", report.Result, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestADayOfRealOrders(t *testing.T) {
	w := newWorld(t, realOrders(t))
	report := w.mustRun(t, `{"date":"1997-03-24"}`)
	wantResult(t, report, orders.Result{
		Summary: orders.Summary{
			Date: "1997-03-24", Currency: "USD", Orders: 60, RevenueCents: 177_679, AverageOrderCents: 2961,
			MedianOrderCents: 2665, Items: 119, Customers: 58, NewCustomers: 33, ReturningCustomers: 25,
		},
		Stats:     "out/stats/1997-03-24.json",
		Customers: "out/customers/1997-03-24.ndjson",
	})
	wantCounts := map[string]int64{"orders": 60, "customers": 58, "pages": 2}
	if diff := cmp.Diff(wantCounts, report.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	// The customers come last: their arrival starts the sync.
	if diff := cmp.Diff([]string{"stats/1997-03-24.json", "customers/1997-03-24.ndjson"}, w.puts); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got := w.source.Stats().Tokens; got != 1 {
		t.Errorf("%d tokens were got, want 1", got)
	}
	if strings.Contains(string(report.Result), "@") {
		t.Error("the report, which is logged, has an e-mail address")
	}
}

func TestADayAgainGivesTheSameBytes(t *testing.T) {
	w := newWorld(t, realOrders(t))
	w.mustRun(t, `{"date":"1997-03-24"}`)
	first := maps.Clone(w.files)

	// Another process, and the shop's orders in another order.
	backwards := realOrders(t)
	slices.Reverse(backwards)
	again := newWorld(t, backwards)
	again.mustRun(t, `{"date":"1997-03-24"}`)
	w.mustRun(t, `{"date":"1997-03-24"}`)
	if diff := cmp.Diff(first, w.files); diff != "" {
		t.Errorf("the same shop (-first +again):\n%s", diff)
	}
	if diff := cmp.Diff(first, again.files); diff != "" {
		t.Errorf("another shop (-first +again):\n%s", diff)
	}
}

func TestADayWithoutOrdersHasFilesToo(t *testing.T) {
	w := newWorld(t, realOrders(t))
	report := w.mustRun(t, `{"date":"1996-12-31"}`)
	want := map[string]string{
		"stats/1996-12-31.json": `{
  "date": "1996-12-31",
  "currency": "USD",
  "orders": 0,
  "revenueCents": 0,
  "averageOrderCents": 0,
  "medianOrderCents": 0,
  "items": 0,
  "customers": 0,
  "newCustomers": 0,
  "returningCustomers": 0,
  "topCustomers": []
}
`,
		"customers/1996-12-31.ndjson": "",
	}
	if diff := cmp.Diff(want, w.files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if report.Counts["pages"] != 2 {
		t.Errorf("counts %v", report.Counts)
	}
}

func TestManyPagesAreAllRead(t *testing.T) {
	var sold []shop.Order
	for i := range 450 {
		sold = append(sold, order(fmt.Sprintf("o%03d", i), fmt.Sprintf("c%03d", i%210), "2001-05-05", 1, 100))
	}
	w := newWorld(t, sold)
	report := w.mustRun(t, `{"date":"2001-05-05"}`)
	want := map[string]int64{"orders": 450, "customers": 210, "pages": 8}
	if diff := cmp.Diff(want, report.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if rows := strings.Count(w.files["customers/2001-05-05.ndjson"], "\n"); rows != 210 {
		t.Errorf("%d rows, want 210", rows)
	}
}

func TestHalfACentIsRoundedAwayFromZero(t *testing.T) {
	for name, tc := range map[string]struct {
		cents           []int64
		average, median int64
	}{
		"one order":        {[]int64{7}, 7, 7},
		"down":             {[]int64{1, 1, 2}, 1, 1},
		"a half, up":       {[]int64{1, 2}, 2, 2},
		"above a half, up": {[]int64{1, 2, 2}, 2, 2},
		"free ones":        {[]int64{0, 0, 0, 1}, 0, 0},
		"large ones":       {[]int64{1_000_000_000, 999_999_999}, 1_000_000_000, 1_000_000_000},
	} {
		var sold []shop.Order
		for i, cents := range tc.cents {
			sold = append(sold, order(fmt.Sprintf("o%d", i), "c1", "2001-05-05", 1, cents))
		}
		w := newWorld(t, sold)
		w.mustRun(t, `{"date":"2001-05-05"}`)
		var got orders.Stats
		if err := json.Unmarshal([]byte(w.files["stats/2001-05-05.json"]), &got); err != nil {
			t.Fatal(err)
		}
		if got.AverageOrderCents != tc.average || got.MedianOrderCents != tc.median {
			t.Errorf("%s: average %d, median %d; want %d, %d", name, got.AverageOrderCents, got.MedianOrderCents, tc.average, tc.median)
		}
	}
}

func TestAFailedWriteFailsTheRunAndTheNextDoesItAll(t *testing.T) {
	w := newWorld(t, realOrders(t))
	put := w.config.Put
	w.config.Put = func(context.Context, string, []byte) (string, error) { return "", errors.New("the bucket is gone") }
	_, err := w.run(t, `{"date":"1997-03-24"}`)
	if want := "orders of 1997-03-24: writing stats/1997-03-24.json: the bucket is gone"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	w.config.Put = put
	if report := w.mustRun(t, `{"date":"1997-03-24"}`); report.Counts["orders"] != 60 {
		t.Errorf("counts %v", report.Counts)
	}
}

// slowShop is a shop that takes an hour for each page from the nth on.
type slowShop struct {
	base http.RoundTripper
	from int
	late atomic.Int64
}

func (s *slowShop) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.from--; s.from <= 0 {
		s.late.Add(int64(time.Hour))
	}
	return s.base.RoundTrip(r)
}

func (s *slowShop) now() time.Time { return time.Now().Add(time.Duration(s.late.Load())) }

func TestWhenTimeIsShortTheRunFailsAndNamesTheMend(t *testing.T) {
	for slowFrom, want := range map[int]string{
		1: "no time left before the page after the 1 read so far",
		2: "no time left before the page after the 2 read so far",
	} {
		sold := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"orders":[],"customers":[]}`)
		}))
		t.Cleanup(sold.Close)
		w := &world{}
		slow := &slowShop{base: sold.Client().Transport, from: slowFrom}
		w.useShop(t, sold.URL, slow)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		report, err := w.runUntil(ctx, t, `{"date":"1997-03-24"}`, slow.now)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "raise the function's timeout") {
			t.Errorf("error %v, want %q", err, want)
		}
		if len(w.puts) != 0 || report.Outcome != jobs.OutcomeFailed {
			t.Errorf("the run is %q and wrote %v", report.Outcome, w.puts)
		}
	}
}

func TestNoFileIsBegunWhenTimeIsShort(t *testing.T) {
	w := newWorld(t, realOrders(t))
	var late atomic.Int64
	put := w.config.Put
	w.config.Put = func(ctx context.Context, name string, data []byte) (string, error) {
		late.Add(int64(57 * time.Second)) // within the margin before the lease's end
		return put(ctx, name, data)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := w.runUntil(ctx, t, `{"date":"1997-03-24"}`, func() time.Time { return time.Now().Add(time.Duration(late.Load())) })
	if err == nil || !strings.Contains(err.Error(), "no time left before writing customers/1997-03-24.ndjson") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"stats/1997-03-24.json"}, w.puts); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestNothingIsWrittenAfterTheLeaseHasEnded(t *testing.T) {
	w := newWorld(t, realOrders(t))
	var late atomic.Int64
	put := w.config.Put
	w.config.Put = func(ctx context.Context, name string, data []byte) (string, error) {
		late.Add(int64(time.Hour)) // the environment was frozen
		return put(ctx, name, data)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := w.runUntil(ctx, t, `{"date":"1997-03-24"}`, func() time.Time { return time.Now().Add(time.Duration(late.Load())) })
	if !errors.Is(err, jobs.ErrLeaseLost) || !strings.Contains(err.Error(), "writing customers/1997-03-24.ndjson: ") {
		t.Errorf("error %v, want ErrLeaseLost on writing the customers", err)
	}
	if diff := cmp.Diff([]string{"stats/1997-03-24.json"}, w.puts); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestTopCustomersAreTenAndOfEqualsTheLowerIds(t *testing.T) {
	var sold []shop.Order
	for i := range 40 {
		sold = append(sold, order(fmt.Sprintf("o%02d", i), fmt.Sprintf("c%02d", i), "2001-05-05", 1, int64(100+i/30)))
	}
	w := newWorld(t, sold)
	w.mustRun(t, `{"date":"2001-05-05"}`)
	var stats orders.Stats
	if err := json.Unmarshal([]byte(w.files["stats/2001-05-05.json"]), &stats); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, c := range stats.TopCustomers {
		got = append(got, c.CustomerID)
	}
	for i := range 10 {
		want = append(want, fmt.Sprintf("c%02d", 30+i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("top customers (-want +got):\n%s", diff)
	}
}

func TestAnAppWithoutTheScopeIsToldSo(t *testing.T) {
	w := newWorld(t, nil)
	other := w.tenant.AddApp("no-role")
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: w.tenant.URL, AppID: other.ID, AppSecret: m2m.NewSecret(other.Secret)}),
		Resource:    shop.Resource, Scopes: []string{shop.ScopeReadOrders}, HTTPClient: w.tenant.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.useShop(t, "http://127.0.0.1:9", &m2m.Transport{Source: source, Origin: "http://127.0.0.1:9"})
	if _, err := w.run(t, `{"date":"1997-03-24"}`); err == nil || !strings.Contains(err.Error(), "missing: read:orders") {
		t.Errorf("error %v", err)
	}
}

func TestAnIncompleteConfigIsRefused(t *testing.T) {
	w := &world{}
	if _, err := w.run(t, `{"date":"1997-03-24"}`); err == nil || !strings.Contains(err.Error(), "Config needs Shop and Put") {
		t.Errorf("error %v", err)
	}
}
