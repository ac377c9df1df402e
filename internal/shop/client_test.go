package shop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/shop"
)

func firstError(c *shop.Client, ctx context.Context) error {
	for _, err := range c.Orders(ctx, "1997-03-24") {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRefusalsNameTheMend(t *testing.T) {
	w := newWorld(t, nil)
	for name, tc := range map[string]struct {
		client *shop.Client
		status int
		want   string
	}{
		"another resource": {w.client(t, "https://default.logto.app/api", shop.ScopeReadOrders), 401,
			"GET /orders of the shop: status 401 invalid_token: invalid access token: it is not for https://shopping.api: " +
				"ask the token endpoint for that resource; get the token for https://shopping.api, from the issuer that the shop trusts"},
		"no scope": {w.client(t, shop.Resource, shop.ScopeReadProducts), 403,
			"GET /orders of the shop: status 403 insufficient_scope: the token of app orders-app lacks read:orders: grant it to the app by a role, " +
				"and ask for it with the token; give the app a role with read:orders of https://shopping.api " +
				"(Logto console > Roles > the role > Permissions), and ask for it with the token"},
	} {
		err := firstError(tc.client, t.Context())
		e, ok := errors.AsType[*shop.Error](err)
		if !ok || e.Status != tc.status || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, tc.want)
		}
	}
}

// strange is a shop that answers anything.
func strange(t *testing.T, answer http.HandlerFunc) *shop.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := shop.NewClient(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnswersOfAStrangeShopAreRefused(t *testing.T) {
	const one = `{"id":"o1","customerId":"c1","placedOn":"1997-03-24","quantity":1,"totalCents":1,"currency":"USD"}`
	for name, tc := range map[string]struct{ answer, want string }{
		"no JSON":                     {`<html>`, "is not a JSON object"},
		"no list":                     {`{}`, "no orders as the API describes them"},
		"null for a list":             {`{"orders":null}`, "no orders as the API describes them"},
		"money as a float":            {`{"orders":[{"totalCents":29.33}]}`, "no orders as the API describes them"},
		"more cents than can be":      {`{"orders":[{"totalCents":99999999999999999999}]}`, "no orders as the API describes them"},
		"a cursor that is no text":    {`{"orders":[` + one + `],"nextCursor":7}`, "nextCursor is not a text"},
		"a cursor that stays":         {`{"orders":[` + one + `],"nextCursor":"again"}`, "leads in a circle"},
		"an empty page with a cursor": {`{"orders":[],"nextCursor":"more"}`, "leads in a circle"},
		"a page without end":          {`{"orders":[` + strings.Repeat(one+",", 50_000) + one + `]}`, "longer than 4194304 bytes"},
	} {
		c := strange(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tc.answer) })
		if err := firstError(c, t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestAProxysPageIsNotRepeatedInTheError(t *testing.T) {
	c := strange(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "<html>the proxy's secrets</html>")
	})
	if err := firstError(c, t.Context()); err == nil || err.Error() != "GET /orders of the shop: status 502; run it again later" {
		t.Errorf("error %v", err)
	}
}

func TestAMissingRouteNamesTheRoutesThatAreNeeded(t *testing.T) {
	const want = "GET /orders of the shop: status 404; check the shop's address: daily-orders needs " +
		"GET /orders?placedOn= and GET /customers?activeOn=, see go doc ./internal/shop"
	if err := firstError(strange(t, http.NotFound), t.Context()); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestWhatAShopSaysIsShortenedAndPrintable(t *testing.T) {
	c := strange(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"bad\u001b[31m","error_description":"%s"}`, strings.Repeat("x\\n", 10_000))
	})
	err := firstError(c, t.Context())
	if err == nil || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("error %q", err)
	}
}

func TestACancelledContextEndsTheList(t *testing.T) {
	c := strange(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"orders":[]}`) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := firstError(c, ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNewClientRefusesAnAddressThatIsNone(t *testing.T) {
	for _, address := range []string{"", "shop.example.com", "ftp://shop.example.com", "https://a:b@shop.example.com", "https://shop.example.com?x=y"} {
		if _, err := shop.NewClient(address, http.DefaultClient); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
	if _, err := shop.NewClient("https://shop.example.com", nil); err == nil {
		t.Error("a missing http.Client was accepted")
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	c := strange(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	if err := firstError(c, t.Context()); err == nil || !strings.Contains(err.Error(), "307") || elsewhere > 0 {
		t.Errorf("error %v, and %d requests went to another host", err, elsewhere)
	}
}
