package orders_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const may5 = "2001-05-05"

func customerOf(o shop.Order) shop.Customer {
	return shop.Customer{
		ID: o.CustomerID, Email: o.CustomerEmail, Orders: 1, Items: o.Quantity, SpentCents: o.TotalCents,
		Currency: o.Currency, FirstOrder: o.PlacedOn, LastOrder: o.PlacedOn,
	}
}

// worldOf has a shop that tells just these orders and customers.
func worldOf(t *testing.T, sold []shop.Order, customers []shop.Customer) *world {
	t.Helper()
	list := func(name string, entries any) string {
		body, err := json.Marshal(map[string]any{name: entries})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	return strangeWorld(t, map[string]string{"/orders": list("orders", sold), "/customers": list("customers", customers)})
}

func reasons(report jobs.Report) []string {
	var all []string
	if report.Rejected != nil {
		for _, r := range report.Rejected.Some {
			all = append(all, r.Reason)
		}
	}
	return all
}

func TestOrdersThatCannotBeRightAreRejectedAndNothingIsLost(t *testing.T) {
	good := order("o1", "c1", may5, 2, 500)
	for want, change := range map[string]func(*shop.Order){
		`order "o2": quantity is not between 1 and`:   func(o *shop.Order) { o.Quantity = 0 },
		`quantity is not between`:                     func(o *shop.Order) { o.Quantity = -3 },
		`quantity is not between 1 and 1000000`:       func(o *shop.Order) { o.Quantity = 1_000_001 },
		`order "o2": totalCents is not between 0 and`: func(o *shop.Order) { o.TotalCents = -1 },
		`totalCents is not between`:                   func(o *shop.Order) { o.TotalCents = 1<<53 + 1 },
		`order "o2": currency is not USD, that of`:    func(o *shop.Order) { o.Currency = "EUR" },
		`order "o2": currency is not a code of three`: func(o *shop.Order) { o.Currency = "usd" },
		`order "o2": placedOn is not the day`:         func(o *shop.Order) { o.PlacedOn = "2001-05-06" },
		`order "": it has no id`:                      func(o *shop.Order) { o.ID = "" },
	} {
		bad := order("o2", "c2", may5, 1, 100)
		sound := customerOf(bad)
		change(&bad)
		w := worldOf(t, []shop.Order{good, bad}, []shop.Customer{customerOf(good), sound})
		report := w.mustRun(t, `{"date":"`+may5+`"}`)
		got := reasons(report)
		if len(got) != 2 || !strings.Contains(got[0], want) || !strings.Contains(got[1], `customer "c2": its order`) {
			t.Errorf("rejected %q, want %q and the customer", got, want)
			continue
		}
		var row shop.Order
		if err := json.Unmarshal(report.Rejected.Some[0].Row, &row); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bad, row); diff != "" {
			t.Errorf("the rejected row (-want +got):\n%s", diff)
		}
		if report.Counts["orders"] != 1 || report.Counts["customers"] != 1 {
			t.Errorf("counts %v", report.Counts)
		}
		if rows := w.files["customers/"+may5+".ndjson"]; strings.Count(rows, "\n") != 1 || !strings.Contains(rows, "c1@example.com") {
			t.Errorf("rows %s", rows)
		}
	}
}

func TestAnOrderThatComesTwiceCountsOnce(t *testing.T) {
	one := order("o1", "c1", may5, 2, 500)
	w := worldOf(t, []shop.Order{one, one}, []shop.Customer{customerOf(one)})
	report := w.mustRun(t, `{"date":"`+may5+`"}`)
	if got := reasons(report); len(got) != 2 || !strings.Contains(got[0], "twice") || report.Counts["orders"] != 1 {
		t.Errorf("rejected %q, counts %v", got, report.Counts)
	}
}

func TestCustomersThatCannotBeRightAreRejected(t *testing.T) {
	good, other := order("o1", "c1", may5, 2, 500), order("o2", "c2", may5, 1, 100)
	for want, change := range map[string]func(*shop.Customer){
		"its e-mail address is none":                            func(c *shop.Customer) { c.Email = "c2" },
		"e-mail address is none":                                func(c *shop.Customer) { c.Email = "c2\x00@example.com" },
		"-mail address is none":                                 func(c *shop.Customer) { c.Email = "c2@example" },
		"mail address is none":                                  func(c *shop.Customer) { c.Email = "c2@example." },
		"address is none":                                       func(c *shop.Customer) { c.Email = "c2@shop@example.com" },
		"spentCents cannot be: want at least one order":         func(c *shop.Customer) { c.Orders = 0 },
		"no fewer items than orders":                            func(c *shop.Customer) { c.Items = 0 },
		"no sum below zero":                                     func(c *shop.Customer) { c.SpentCents = -1 },
		"are more than can be":                                  func(c *shop.Customer) { c.SpentCents = 1 << 60 },
		`currency is not USD, that of the day's first order`:    func(c *shop.Customer) { c.Currency = "EUR" },
		`currency is not a code of three capital letters`:       func(c *shop.Customer) { c.Currency = "" },
		"are not two dates in order":                            func(c *shop.Customer) { c.FirstOrder = "2001-05-06" },
		`not two dates in order`:                                func(c *shop.Customer) { c.FirstOrder = "yesterday" },
		"lastOrder is another day: the totals are not those as": func(c *shop.Customer) { c.LastOrder = "2001-05-06" },
		"another customer of the day has the same e-mail":       func(c *shop.Customer) { c.Email = "C1@Example.com" },
	} {
		bad := customerOf(other)
		change(&bad)
		w := worldOf(t, []shop.Order{good, other}, []shop.Customer{customerOf(good), bad})
		report := w.mustRun(t, `{"date":"`+may5+`"}`)
		if got := strings.Join(reasons(report), "; "); !strings.Contains(got, want) || !strings.Contains(got, `customer "c2"`) {
			t.Errorf("rejected %q, want %q", got, want)
		}
		if report.Counts["orders"] != 2 || strings.Contains(w.files["customers/"+may5+".ndjson"], "c2") {
			t.Errorf("%s: counts %v", want, report.Counts)
		}
	}
}

func TestOrdersAndCustomersThatContradictEachOtherFailTheRun(t *testing.T) {
	one, two := order("o1", "c1", may5, 2, 500), order("o2", "c2", may5, 1, 100)
	older := shop.Customer{
		ID: "c4", Email: "c4@example.com", Orders: 5, Items: 5, SpentCents: 9, Currency: "USD", FirstOrder: "2001-05-01", LastOrder: may5,
	}
	changed := func(change func(*shop.Customer)) []shop.Customer {
		c := customerOf(two)
		change(&c)
		return []shop.Customer{customerOf(one), c}
	}
	for _, tc := range []struct {
		want      string
		customers []shop.Customer
	}{
		{`order "o2" is of customer "c2", which GET /customers does not list`, []shop.Customer{customerOf(one)}},
		{`the shop sent customer "c2" twice`, []shop.Customer{customerOf(one), customerOf(two), customerOf(two)}},
		{`customer "c3": firstOrder and the totals of GET /customers do not fit what GET /orders has of 2001-05-05`,
			[]shop.Customer{customerOf(one), customerOf(two), customerOf(order("o3", "c3", may5, 1, 7))}},
		{`customer "c4": firstOrder and the totals`, []shop.Customer{customerOf(one), customerOf(two), older}},
		{`customer "c2": firstOrder and the totals`, changed(func(c *shop.Customer) { c.SpentCents = 99 })},
		{`customer "c2": firstOrder and the totals`, changed(func(c *shop.Customer) { c.Items = 2 })}, // new, so it has no others
		{`customer "c2": firstOrder and the totals`, changed(func(c *shop.Customer) { c.FirstOrder = "2001-05-01" })},
	} {
		want, customers := tc.want, tc.customers
		w := worldOf(t, []shop.Order{one, two}, customers)
		report, err := w.run(t, `{"date":"`+may5+`"}`)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "run it again") {
			t.Errorf("error %v, want %q", err, want)
		}
		if len(w.puts) != 0 || report.Rejected != nil {
			t.Errorf("%s: wrote %v, rejected %v", want, w.puts, report.Rejected)
		}
	}
}

func TestReasonsHaveNoValuesOfTheRowsButIDs(t *testing.T) {
	strange := order("o1", "c1", "ann@example.com", 4711, 4712)
	strange.Currency = "ann@example.com"
	negative := order("o2", "c2", may5, -4711, 4712)
	cheap := order("o3", "c3", may5, 1, -4712)
	foreign := order("o4", "c4", may5, 4711, 4712)
	foreign.Currency = "ann@example.com"
	fine := order("o5", "c5", may5, 1, 100)
	odd := func(id string, change func(*shop.Customer)) shop.Customer {
		c := customerOf(order("o5", id, may5, 1, 100))
		change(&c)
		return c
	}
	w := worldOf(t, []shop.Order{strange, negative, cheap, foreign, fine}, []shop.Customer{
		customerOf(fine),
		odd("c6", func(c *shop.Customer) { c.Email = "ann example com" }),
		odd("c7", func(c *shop.Customer) { c.SpentCents = -4712 }),
		odd("c8", func(c *shop.Customer) { c.SpentCents = 1 << 60 }),
		odd("c9", func(c *shop.Customer) { c.Currency = "ann@example.com" }),
		odd("c10", func(c *shop.Customer) { c.FirstOrder = "ann@example.com" }),
		odd("c11", func(c *shop.Customer) { c.FirstOrder, c.LastOrder = "2000-07-11", "2000-07-11" }),
	})
	got := reasons(w.mustRun(t, `{"date":"`+may5+`"}`))
	if len(got) != 10 {
		t.Errorf("%d reasons %q", len(got), got)
	}
	for _, reason := range got {
		for _, value := range []string{"example", "4711", "4712", "2000-07", "1152921504606846976"} {
			if strings.Contains(reason, value) {
				t.Errorf("reason %q has a value of the row", reason)
			}
		}
	}
	w = worldOf(t, []shop.Order{fine}, []shop.Customer{odd("c5", func(c *shop.Customer) { c.SpentCents, c.Items = 4711, 4712 })})
	if _, err := w.run(t, `{"date":"`+may5+`"}`); err == nil || strings.Contains(err.Error(), "471") {
		t.Errorf("error %v", err)
	}
}

func TestTheCurrencyIsThatOfTheDaysFirstOrderThatIsAccepted(t *testing.T) {
	in := func(currency string, o shop.Order) shop.Order { o.Currency = currency; return o }
	odd := in("eur", order("o0", "c0", may5, 1, 1))
	one, two := in("EUR", order("o1", "c1", may5, 2, 500)), in("EUR", order("o2", "c2", may5, 1, 100))
	foreign := in("USD", order("o3", "c3", may5, 1, 7))
	w := worldOf(t, []shop.Order{odd, one, two, foreign}, []shop.Customer{customerOf(one), customerOf(two), customerOf(foreign)})
	report := w.mustRun(t, `{"date":"`+may5+`"}`)
	want := []string{
		`order "o0": currency is not a code of three capital letters (ISO 4217), such as EUR`,
		`order "o3": currency is not EUR, that of the day's first order: amounts of several currencies cannot be added up`,
		`customer "c3": currency is not EUR, that of the day's first order`,
	}
	if diff := cmp.Diff(want, reasons(report)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	var stats orders.Stats
	if err := json.Unmarshal([]byte(w.files["stats/"+may5+".json"]), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Currency != "EUR" || stats.Orders != 2 || stats.RevenueCents != 600 {
		t.Errorf("stats %+v", stats.Summary)
	}
	if rows := w.files["customers/"+may5+".ndjson"]; strings.Count(rows, `"currency":"EUR"`) != 2 || strings.Contains(rows, "USD") {
		t.Errorf("rows %s", rows)
	}
}

func TestADayWhoseOrdersAreAllRejectedFailsTheRun(t *testing.T) {
	one, two := order("o1", "c1", may5, 0, 500), order("o2", "c2", may5, 1, -1)
	w := worldOf(t, []shop.Order{one, two}, []shop.Customer{customerOf(one), customerOf(two)})
	report, err := w.run(t, `{"date":"`+may5+`"}`)
	const want = `orders of 2001-05-05: all 2 orders were rejected, the first because of this: order "o1": quantity is not between 1 and 1000000`
	if err == nil || !strings.Contains(err.Error(), want) || report.Outcome != jobs.OutcomeFailed || len(w.puts) != 0 {
		t.Errorf("%s, wrote %v, error %v, want %q", report.Outcome, w.puts, err, want)
	}
}
