package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// newShop serves real orders to apps of the tenant, and returns a client of such an app.
func newShop(t *testing.T, tenant *logtotest.Tenant, orders []shop.Order) *shop.Client {
	t.Helper()
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: tenant.Issuer(), Audience: shop.Resource, HTTPClient: tenant.Client()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(shop.NewHandler(verifier, orders))
	t.Cleanup(server.Close)
	tenant.AddResource(shop.Resource, shop.ScopeReadOrders)
	app := tenant.AddApp("welcome")
	tenant.Grant(app.ID, shop.Resource, shop.ScopeReadOrders)
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    shop.Resource, Scopes: []string{shop.ScopeReadOrders}, HTTPClient: tenant.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	client, err := shop.NewClient(server.URL, &http.Client{Transport: &m2m.Transport{Source: source, Origin: server.URL, Base: base}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// welcome is the job that a rule for User.Created starts: it asks who the user is, and the shop what he or she has
// ordered, and writes that by the job that also writes the rows of a night.
func welcome(c *circle, orders *shop.Client, day string) jobs.Job[Event] {
	sync := jobs.Handler(customdata.Job(customdata.Config{
		Client: func(context.Context) (*logto.Client, error) { return c.client, nil },
		Files:  files.New(nil),
	}), jobs.Config{Log: io.Discard})
	return jobs.Job[Event]{Name: "welcome", Run: func(ctx context.Context, run *jobs.Run[Event]) error {
		user, err := c.client.User(ctx, run.Params.UserID)
		if err != nil {
			return err
		}
		for customer, err := range orders.Customers(ctx, day) {
			if err != nil {
				return err
			}
			if customer.Email != user.PrimaryEmail {
				continue
			}
			rows := fmt.Sprintf(`{"rows":[{"id":%q,"customData":{"orders":{"count":%d,"spentCents":%d,"first":%q,"last":%q}}}]}`,
				user.ID, customer.Orders, customer.SpentCents, customer.FirstOrder, customer.LastOrder)
			_, err := sync.Invoke(ctx, []byte(rows))
			return err
		}
		return nil // somebody who has not ordered yet
	}}
}

// From Logto's webhook to the changed user, the whole way.
func TestANewUserGetsTheOrdersOfTheTimeBefore(t *testing.T) {
	all, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	want := map[string]any{}
	var count, cents int64
	first := ""
	for _, o := range all {
		if o.CustomerID != last.CustomerID || o.PlacedOn > last.PlacedOn {
			continue
		}
		if count++; first == "" || o.PlacedOn < first {
			first = o.PlacedOn
		}
		cents += o.TotalCents
	}
	number := func(n int64) json.Number { return json.Number(fmt.Sprint(n)) }
	want["orders"] = map[string]any{"count": number(count), "spentCents": number(cents), "first": first, "last": last.PlacedOn}

	c := newCircle(t, "id")
	handler := jobs.Handler(welcome(c, newShop(t, c.tenant, all), last.PlacedOn), jobs.Config{Log: io.Discard})
	customer := c.tenant.AddUser(logtotest.User{PrimaryEmail: last.CustomerEmail})
	stranger := c.tenant.AddUser(logtotest.User{PrimaryEmail: "nobody@example.com"})
	const tooMany = 10
	runs := c.settle(tooMany, func(e busEntry) {
		// As the rule's target gets it: an event with an id of its own.
		event := fmt.Sprintf(`{"id":%q,"source":%q,"detail-type":%q,"time":"2026-11-24T03:00:00Z","detail":%s}`,
			"event-of-"+e.event(t).UserID, e.Source, e.DetailType, e.Detail)
		if _, err := handler.Invoke(t.Context(), []byte(event)); err != nil {
			t.Error(err)
		}
	})
	if runs != 2 {
		t.Errorf("%d runs, want one for each new user and none for what the job wrote", runs)
	}
	if diff := cmp.Diff(want, c.tenant.CustomData(customer)); diff != "" {
		t.Errorf("the customer's custom data (-want +got):\n%s", diff)
	}
	if data := c.tenant.CustomData(stranger); len(data) > 0 {
		t.Errorf("who has not ordered got %v", data)
	}
}
