package orders

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// What is taken for a slip of the shop: no order has so many items, or costs so much.
const (
	maxItems = 1_000_000
	maxCents = 10_000_000_00
)

// isEmail is how Logto's own check of an address goes, in outline: one @, no spaces, a dot inside the domain.
func isEmail(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	odd := func(r rune) bool { return r <= ' ' || r == 0x7f }
	return local != "" && len(domain) > 2 && strings.Contains(domain[1:len(domain)-1], ".") &&
		!strings.Contains(domain, "@") && !strings.ContainsFunc(s, odd)
}

// isCurrency tells whether s has the form of the alphabetic codes of ISO 4217.
func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

const notACurrency = "currency is not a code of three capital letters (ISO 4217), such as EUR"

// totals of some orders.
type totals struct {
	Count      int64 `json:"count"`
	Items      int64 `json:"items"`
	SpentCents int64 `json:"spentCents"`
}

func (t totals) plus(o shop.Order) totals {
	return totals{t.Count + 1, t.Items + o.Quantity, t.SpentCents + o.TotalCents}
}

// accepted is a day without what was rejected.
type accepted struct {
	day       string
	currency  string // of the first order; empty: there is none
	orders    []shop.Order
	today     map[string]totals // of the orders, by customer id
	customers []shop.Customer   // whose row can be used
	rejected  []jobs.Rejection
}

func (a *accepted) reject(v any, format string, args ...any) error {
	row, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keeping a rejected row: %w", err)
	}
	a.rejected = append(a.rejected, jobs.Rejection{Kind: "rejected", Reason: fmt.Sprintf(format, args...), Row: row})
	return nil
}

// check sorts out what cannot be right, and fails if that is every order, or if orders and customers contradict each
// other.
func (d *fetched) check() (accepted, error) {
	a := accepted{day: d.day, today: make(map[string]totals)}
	doubtful := make(map[string]string) // why a customer's totals cannot be trusted, by customer id
	seen := make(map[string]bool)
	for _, o := range d.orders {
		reason := orderFault(o, d.day)
		switch {
		case reason != "":
		case seen[o.ID]:
			reason = "the shop sent this order id twice"
		case a.currency != "" && o.Currency != a.currency:
			reason = fmt.Sprintf("currency is not %s, that of the day's first order: amounts of several currencies cannot be added up", a.currency)
		}
		seen[o.ID] = true
		if reason != "" {
			if err := a.reject(o, "order %.80q: %s", o.ID, reason); err != nil {
				return a, err
			}
			doubtful[o.CustomerID] = fmt.Sprintf("its order %.80q was rejected, which its totals include", o.ID)
			continue
		}
		a.currency = o.Currency
		a.orders = append(a.orders, o)
		a.today[o.CustomerID] = a.today[o.CustomerID].plus(o)
	}
	if n := len(a.rejected); n > 0 && len(a.orders) == 0 {
		return a, fmt.Errorf("all %d orders were rejected, the first because of this: %s", n, a.rejected[0].Reason)
	}
	if err := d.checkCustomers(&a, doubtful); err != nil {
		return a, err
	}
	return a, nil
}

// checkCustomers takes over the customers whose totals fit their orders.
func (d *fetched) checkCustomers(a *accepted, doubtful map[string]string) error {
	known := make(map[string]bool)
	addresses := make(map[string]int)
	for _, c := range d.customers {
		if known[c.ID] {
			return fmt.Errorf("the shop sent customer %.80q twice; run it again, and if that does not help, its /customers is at fault", c.ID)
		}
		known[c.ID] = true
		addresses[strings.ToLower(c.Email)]++
	}
	for _, o := range a.orders {
		if !known[o.CustomerID] {
			return fmt.Errorf("order %.80q is of customer %.80q, which GET /customers does not list for the day; "+
				"run it again, and if that does not help, the shop's data is at fault", o.ID, o.CustomerID)
		}
	}
	for _, c := range d.customers {
		reason := customerFault(c, d.day)
		switch {
		case reason != "":
		case a.currency != "" && c.Currency != a.currency:
			reason = fmt.Sprintf("currency is not %s, that of the day's first order", a.currency)
		case doubtful[c.ID] != "":
			reason = doubtful[c.ID]
		case addresses[strings.ToLower(c.Email)] > 1:
			reason = "another customer of the day has the same e-mail address, so it is not known whose totals are the user's"
		}
		if reason != "" {
			if err := a.reject(c, "customer %.80q: %s", c.ID, reason); err != nil {
				return err
			}
			continue
		}
		if err := fit(c, a.today[c.ID], d.day); err != nil {
			return err
		}
		a.customers = append(a.customers, c)
	}
	return nil
}

// orderFault says why an order cannot be right; empty: it can. Reasons are logged, so they have ids and no other values:
// the row is kept beside them.
func orderFault(o shop.Order, day string) string {
	switch {
	case o.ID == "":
		return "it has no id"
	case o.CustomerID == "":
		return "it has no customerId"
	case o.PlacedOn != day:
		return "placedOn is not the day that was asked for, " + day
	case o.Quantity < 1 || o.Quantity > maxItems:
		return fmt.Sprintf("quantity is not between 1 and %d", maxItems)
	case o.TotalCents < 0 || o.TotalCents > maxCents:
		return fmt.Sprintf("totalCents is not between 0 and %d", int64(maxCents))
	case !isCurrency(o.Currency):
		return notACurrency
	}
	return ""
}

// customerFault says why a customer's totals cannot be right; empty: they can.
func customerFault(c shop.Customer, day string) string {
	switch {
	case c.ID == "":
		return "it has no id"
	case len(c.Email) > 254 || !isEmail(c.Email):
		return "its e-mail address is none"
	case c.Orders < 1 || c.Items < c.Orders || c.SpentCents < 0:
		return "orders, items and spentCents cannot be: want at least one order, no fewer items than orders, and no sum below zero"
	case c.Orders > maxItems || c.Items > c.Orders*maxItems || c.SpentCents > c.Orders*maxCents:
		return "orders, items and spentCents are more than can be"
	case !isCurrency(c.Currency):
		return notACurrency
	case shop.CheckDay(c.FirstOrder) != nil || shop.CheckDay(c.LastOrder) != nil || c.FirstOrder > c.LastOrder:
		return "firstOrder and lastOrder are not two dates in order"
	case c.LastOrder != day:
		return "lastOrder is another day: the totals are not those as of " + day
	}
	return ""
}

// fit compares a customer's totals with its orders of the day: they include them, and for a new customer there are no
// others.
func fit(c shop.Customer, today totals, day string) error {
	lifetime := totals{c.Orders, c.Items, c.SpentCents}
	isNew := c.FirstOrder == day
	if today.Count == 0 || today.Count > lifetime.Count || today.Items > lifetime.Items || today.SpentCents > lifetime.SpentCents ||
		isNew && today != lifetime || !isNew && today.Count == lifetime.Count {
		return fmt.Errorf("customer %.80q: firstOrder and the totals of GET /customers do not fit what GET /orders has of %s; "+
			"run it again, and if that does not help, the shop's data is at fault", c.ID, day)
	}
	return nil
}
