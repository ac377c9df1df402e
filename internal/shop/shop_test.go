package shop_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the shop's API with the tenant whose tokens it trusts.
type world struct {
	tenant *logtotest.Tenant
	server *httptest.Server
}

func newWorld(t testing.TB, orders []shop.Order) *world {
	t.Helper()
	tenant := logtotest.New(t)
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer:     tenant.Issuer(),
		Audience:   shop.Resource,
		HTTPClient: tenant.Client(),
		Log:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(shop.NewHandler(verifier, orders))
	t.Cleanup(server.Close)
	return &world{tenant, server}
}

// token is one of an app with these scopes of the resource.
func (w *world) token(resource, scope string) string {
	now := time.Now().Unix()
	return w.tenant.Sign(nil, map[string]any{
		"iss": w.tenant.Issuer(), "aud": resource, "sub": "orders-app", "client_id": "orders-app",
		"scope": scope, "iat": now, "exp": now + 3600,
	})
}

// bearer sends a token that is at hand.
type bearer struct {
	token string
	base  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.base.RoundTrip(r)
}

func (w *world) client(t testing.TB, resource, scope string) *shop.Client {
	t.Helper()
	c, err := shop.NewClient(w.server.URL, &http.Client{
		Transport: bearer{w.token(resource, scope), w.server.Client().Transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// send returns status, body and headers of an answer to an app with the scope.
func (w *world) send(t *testing.T, method, path, scope, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if scope != "" {
		req.Header.Set("Authorization", "Bearer "+w.token(shop.Resource, scope))
	}
	resp, err := w.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(answer)), resp.Header
}

func order(id, customer, day string, quantity, cents int64) shop.Order {
	return shop.Order{
		ID: id, CustomerID: customer, CustomerEmail: shop.EmailOf(customer), PlacedOn: day,
		Quantity: quantity, TotalCents: cents, Currency: shop.Currency,
	}
}

func TestEachCallNeedsItsScope(t *testing.T) {
	w := newWorld(t, nil)
	for _, tc := range []struct {
		method, path, scope, body string
		want                      int
	}{
		{"GET", "/orders?placedOn=1997-01-01", "", "", 401},
		{"GET", "/orders?placedOn=1997-01-01", shop.ScopeReadOrders, "", 200},
		{"GET", "/orders?placedOn=1997-01-01", shop.ScopeReadProducts, "", 403},
		{"GET", "/customers?activeOn=1997-01-01", shop.ScopeReadOrders, "", 200},
		{"GET", "/customers?activeOn=1997-01-01", shop.ScopeReadProducts, "", 403},
		{"GET", "/products", shop.ScopeReadProducts, "", 200},
		{"GET", "/products", shop.ScopeReadOrders, "", 403},
		{"POST", "/products", shop.ScopeWriteProducts, `{"name":"A tape","priceCents":799}`, 201},
		{"POST", "/products", shop.ScopeReadProducts, `{"name":"A tape","priceCents":799}`, 403},
		{"DELETE", "/products", shop.ScopeWriteProducts, "", 404},
		{"GET", "/users", shop.ScopeReadOrders, "", 404},
	} {
		got, body, header := w.send(t, tc.method, tc.path, tc.scope, tc.body)
		if got != tc.want {
			t.Errorf("%s %s with %q: %d %s, want %d", tc.method, tc.path, tc.scope, got, body, tc.want)
		}
		if (got == 401 || got == 403) && header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s with %q: no WWW-Authenticate", tc.method, tc.path, tc.scope)
		}
	}
}

func TestWrongRequestsNameTheParameter(t *testing.T) {
	orders := make([]shop.Order, 0, 101)
	for i := range 101 {
		orders = append(orders, order(fmt.Sprintf("o%03d", i), "c1", "1997-01-01", 1, 100))
	}
	w := newWorld(t, orders)
	_, page, _ := w.send(t, "GET", "/orders?placedOn=1997-01-01", shop.ScopeReadOrders, "")
	_, cursor, _ := strings.Cut(page, `"nextCursor":"`)
	cursor, _, ok := strings.Cut(cursor, `"`)
	if !ok {
		t.Fatalf("no cursor in %s", page)
	}
	for query, want := range map[string]string{
		"/orders":                     "placedOn: it is missing",
		"/orders?placedOn=24.3.1997":  `placedOn: \"24.3.1997\" is not a date of the form YYYY-MM-DD`,
		"/orders?placedOn=1997-02-29": `placedOn: \"1997-02-29\" is not a date`,
		"/orders?placedOn=1997-01-01&placedOn=1997-01-02":         "placedOn: it is given more than once",
		"/orders?placedon=1997-01-01":                             `\"placedon\": there is no such parameter`,
		"/orders?placedOn=1997-01-01&limit=0":                     `limit: \"0\" is not a whole number from 1 to 500`,
		"/orders?placedOn=1997-01-01&limit=many":                  `limit: \"many\" is not`,
		"/orders?placedOn=1997-01-01&cursor=":                     "cursor: it is not one that this API gave",
		"/orders?placedOn=1997-01-01&cursor=%21":                  "cursor: it is not one that this API gave",
		"/orders?placedOn=1997-01-02&cursor=" + cursor:            "cursor: it belongs to another list or day",
		"/customers?activeOn=1997-01-01&cursor=" + cursor:         "cursor: it belongs to another list or day",
		"/customers?placedOn=1997-01-01":                          `\"placedOn\": there is no such parameter`,
		"/orders?placedOn=%zz":                                    "query: it is not of the form",
		"/orders?placedOn=1997-01-01&" + strings.Repeat("x", 900): "there is no such parameter",
	} {
		status, body, _ := w.send(t, "GET", query, shop.ScopeReadOrders, "")
		if status != 400 || !strings.Contains(body, `"error":"invalid_request"`) || !strings.Contains(body, want) {
			t.Errorf("GET %.80s: %d %s, want 400 with %s", query, status, body, want)
		}
		if len(body) > 300 {
			t.Errorf("GET %.80s: the answer has %d bytes", query, len(body))
		}
	}
}

func TestCustomersHaveTheirTotalsAsOfTheEndOfTheDay(t *testing.T) {
	w := newWorld(t, []shop.Order{
		order("o1", "c1", "1997-01-01", 1, 1000),
		order("o2", "c1", "1997-02-01", 2, 2050),
		order("o3", "c2", "1997-02-01", 3, 0),
		order("o4", "c1", "1997-02-01", 4, 1),
		order("o5", "c1", "1997-02-02", 5, 9999), // later: not in the totals
		order("o6", "c3", "1997-01-15", 6, 100),  // not on that day
	})
	var got []shop.Customer
	for c, err := range w.client(t, shop.Resource, shop.ScopeReadOrders).Customers(t.Context(), "1997-02-01") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	want := []shop.Customer{
		{ID: "c1", Email: "c1@example.com", Orders: 3, Items: 7, SpentCents: 3051, Currency: "USD", FirstOrder: "1997-01-01", LastOrder: "1997-02-01"},
		{ID: "c2", Email: "c2@example.com", Orders: 1, Items: 3, SpentCents: 0, Currency: "USD", FirstOrder: "1997-02-01", LastOrder: "1997-02-01"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("customers (-want +got):\n%s", diff)
	}
}

func TestThePackageCommentHasTheAnswersAsTheyAre(t *testing.T) {
	w := newWorld(t, []shop.Order{order("o0", "c1", "1997-01-01", 1, 1000), order("o1", "c1", "1997-01-02", 2, 2933)})
	source, err := os.ReadFile("shop.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/orders?placedOn=1997-01-02", "/customers?activeOn=1997-01-02", "/products?limit=1"} {
		_, answer, _ := w.send(t, "GET", path, shop.ScopeReadOrders+" "+shop.ScopeReadProducts, "")
		if want := "//\tGET " + path + "\n//\t" + answer + "\n"; !strings.Contains(string(source), want) {
			t.Errorf("shop.go lacks\n%s", want)
		}
	}
}

func TestListsComeInPages(t *testing.T) {
	for total, pages := range map[int]int{0: 1, 1: 1, 100: 1, 101: 2, 250: 3} {
		var want []shop.Order
		for i := range total {
			want = append(want, order(fmt.Sprintf("o%03d", i), fmt.Sprintf("c%03d", i), "1997-01-01", 1, int64(i)))
		}
		w := newWorld(t, want)
		client := w.client(t, shop.Resource, shop.ScopeReadOrders)
		list := client.OrderPages(t.Context(), "1997-01-01")
		for range 2 { // the iterator can be used again
			var got []shop.Order
			n := 0
			for page, err := range list {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page...)
				n++
			}
			if diff := cmp.Diff(want, got); diff != "" || n != pages {
				t.Errorf("%d orders came in %d pages, want %d (-want +got):\n%s", total, n, pages, diff)
			}
		}
		customers := 0
		for _, err := range client.Customers(t.Context(), "1997-01-01") {
			if err != nil {
				t.Fatal(err)
			}
			customers++
		}
		if customers != total {
			t.Errorf("%d customers, want %d", customers, total)
		}
	}
}

func TestProductsCanBeAdded(t *testing.T) {
	w := newWorld(t, nil)
	both := shop.ScopeReadProducts + " " + shop.ScopeWriteProducts
	for body, want := range map[string]string{
		`{"name":" ","priceCents":1}`:                                "name: ",
		`{"name":"A tape"}`:                                          "priceCents: ",
		`{"name":"A tape","priceCents":-1}`:                          "priceCents: ",
		`{"name":"A tape","priceCents":7.99}`:                        "body: ",
		`{"name":"A tape","price":799}`:                              "body: ",
		`{"name":"A tape","priceCents":799}{}`:                       "body: something follows",
		`{"name":"` + strings.Repeat("a", 20<<10) + `"}`:             "body: ",
		`{"name":"` + strings.Repeat("a", 201) + `","priceCents":1}`: "name: ",
	} {
		if status, answer, _ := w.send(t, "POST", "/products", both, body); status != 400 || !strings.Contains(answer, want) {
			t.Errorf("POST %.60s: %d %s, want 400 with %s", body, status, answer, want)
		}
	}
	status, added, _ := w.send(t, "POST", "/products", both, `{"name":"A tape","priceCents":799}`)
	if want := `{"id":"p00004","name":"A tape","priceCents":799,"currency":"USD"}`; status != 201 || added != want {
		t.Errorf("POST: %d %s, want 201 %s", status, added, want)
	}
	if _, list, _ := w.send(t, "GET", "/products?limit=500", both, ""); !strings.Contains(list, added) {
		t.Errorf("the product is not in %s", list)
	}
}

func TestTheRealOrdersAreAllThere(t *testing.T) {
	orders, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	customers := make(map[string]bool)
	var day, cents int64
	for _, o := range orders {
		customers[o.CustomerID] = true
		if o.PlacedOn == "1997-03-24" {
			day++
			cents += o.TotalCents
		}
	}
	if len(orders) != 6919 || len(customers) != 2357 || day != 60 || cents != 177_679 {
		t.Errorf("%d orders of %d customers; %d for %d cents on 1997-03-24", len(orders), len(customers), day, cents)
	}
}

func ExampleClient() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	tenant.AddResource(shop.Resource, shop.ScopeReadOrders)
	app := tenant.AddApp("daily-orders")
	tenant.Grant(app.ID, shop.Resource, shop.ScopeReadOrders)

	// The shop's side: it trusts the tenant's tokens for its own resource.
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer: tenant.Issuer(), Audience: shop.Resource, HTTPClient: tenant.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := cdnow.Orders()
	if err != nil {
		fmt.Println(err)
		return
	}
	api := httptest.NewServer(shop.NewHandler(verifier, orders))
	defer api.Close()

	// The caller's side: a client that gets and sends the token.
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    shop.Resource,
		Scopes:      []string{shop.ScopeReadOrders},
		HTTPClient:  tenant.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := shop.NewClient(api.URL, &http.Client{
		Transport: &m2m.Transport{Source: source, Origin: api.URL, Base: api.Client().Transport},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var cents int64
	for order, err := range client.Orders(context.Background(), "1997-03-24") {
		if err != nil {
			fmt.Println(err)
			return
		}
		cents += order.TotalCents
	}
	fmt.Printf("%d.%02d USD\n", cents/100, cents%100)
	// Output: 1776.79 USD
}
