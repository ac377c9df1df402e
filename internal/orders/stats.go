package orders

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/m2mjobs/m2mjobs/internal/shop"
)

// topCustomers is how many customers Stats.TopCustomers has at most.
const topCustomers = 10

// Summary is what the report has of the statistics: sums, and nobody's data. Amounts are in whole cents.
//
// The average and the median of an even number of orders are rounded to the cent, half a cent away from zero. Both are
// zero on a day without orders.
type Summary struct {
	Date               string `json:"date"`     // YYYY-MM-DD
	Currency           string `json:"currency"` // that of the orders; without any, the example shop's
	Orders             int64  `json:"orders"`
	RevenueCents       int64  `json:"revenueCents"`
	AverageOrderCents  int64  `json:"averageOrderCents"`
	MedianOrderCents   int64  `json:"medianOrderCents"`
	Items              int64  `json:"items"`
	Customers          int64  `json:"customers"`          // who placed the orders
	NewCustomers       int64  `json:"newCustomers"`       // of these, those whose first order was on the day
	ReturningCustomers int64  `json:"returningCustomers"` // of these, those who had ordered before; a rejected one is neither
}

// Stats are the statistics of a day.
type Stats struct {
	Summary
	// TopCustomers are the ten that spent most on the day, more first; of equals, the one with the lower id.
	TopCustomers []TopCustomer `json:"topCustomers"`
}

// TopCustomer is what a customer bought on the day.
type TopCustomer struct {
	CustomerID string `json:"customerId"`
	Orders     int64  `json:"orders"`
	Items      int64  `json:"items"`
	SpentCents int64  `json:"spentCents"`
}

func (a accepted) stats() Stats {
	s := Stats{
		Summary: Summary{
			Date:      a.day,
			Currency:  cmp.Or(a.currency, shop.Currency),
			Orders:    int64(len(a.orders)),
			Customers: int64(len(a.today)),
		},
		TopCustomers: []TopCustomer{}, // [] in JSON, not null
	}
	amounts := make([]int64, 0, len(a.orders))
	for _, o := range a.orders {
		s.RevenueCents += o.TotalCents
		s.Items += o.Quantity
		amounts = append(amounts, o.TotalCents)
	}
	if n := int64(len(amounts)); n > 0 {
		slices.Sort(amounts)
		s.AverageOrderCents = divide(s.RevenueCents, n)
		s.MedianOrderCents = divide(amounts[(n-1)/2]+amounts[n/2], 2)
	}
	for _, c := range a.customers {
		if c.FirstOrder == a.day {
			s.NewCustomers++
		} else {
			s.ReturningCustomers++
		}
	}
	for id, t := range a.today {
		s.TopCustomers = append(s.TopCustomers, TopCustomer{id, t.Count, t.Items, t.SpentCents})
	}
	slices.SortFunc(s.TopCustomers, func(x, y TopCustomer) int {
		return cmp.Or(cmp.Compare(y.SpentCents, x.SpentCents), cmp.Compare(x.CustomerID, y.CustomerID))
	})
	s.TopCustomers = s.TopCustomers[:min(topCustomers, len(s.TopCustomers))]
	return s
}

// divide rounds half away from zero. sum is not negative: such orders are rejected.
func divide(sum, n int64) int64 { return (2*sum + n) / (2 * n) }

func (s Stats) file() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the statistics: %w", err)
	}
	return append(data, '\n'), nil
}

// row is one line of the customers' file. The order of the fields is that of the file.
type row struct {
	PrimaryEmail string `json:"primaryEmail"`
	CustomData   struct {
		Orders customerOrders `json:"orders"`
	} `json:"customData"`
}

type customerOrders struct {
	AsOf string `json:"asOf"`
	totals
	Currency string `json:"currency"`
	First    string `json:"first"`
	Last     string `json:"last"`
	Day      totals `json:"day"`
}

// rows makes the customers' file, sorted by e-mail address.
func (a accepted) rows() ([]byte, error) {
	sorted := slices.SortedFunc(slices.Values(a.customers), func(x, y shop.Customer) int { return cmp.Compare(x.Email, y.Email) })
	var file bytes.Buffer
	encoder := json.NewEncoder(&file)
	encoder.SetEscapeHTML(false)
	for _, c := range sorted {
		r := row{PrimaryEmail: c.Email}
		r.CustomData.Orders = customerOrders{
			AsOf:     a.day,
			totals:   totals{c.Orders, c.Items, c.SpentCents},
			Currency: c.Currency,
			First:    c.FirstOrder,
			Last:     c.LastOrder,
			Day:      a.today[c.ID],
		}
		if err := encoder.Encode(r); err != nil {
			return nil, fmt.Errorf("encoding the row of customer %s: %w", c.ID, err)
		}
	}
	return file.Bytes(), nil
}
