package orders_test

import (
	"encoding/csv"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/orders"
)

// sale is a line of the CSV, read without the shop's code.
type sale struct {
	customer, day string
	items, cents  int64
}

func sales(t *testing.T) []sale {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "shop", "cdnow", "orders.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	whole := func(s string) int64 {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			t.Fatalf("%q is no number", s)
		}
		return n.Int64()
	}
	var all []sale
	for _, l := range lines[1:] {
		all = append(all, sale{l[1], l[2], whole(l[3]), whole(strings.Replace(l[4], ".", "", 1))})
	}
	return all
}

type sums struct {
	Count      int64 `json:"count"`
	Items      int64 `json:"items"`
	SpentCents int64 `json:"spentCents"`
}

type customer struct {
	AsOf string `json:"asOf"`
	sums
	Currency string `json:"currency"`
	First    string `json:"first"`
	Last     string `json:"last"`
	Day      sums   `json:"day"`
}

// recompute works a day out from the CSV alone.
func recompute(all []sale, day string) (orders.Stats, map[string]customer) {
	stats := orders.Stats{TopCustomers: []orders.TopCustomer{}}
	stats.Date, stats.Currency = day, "USD"
	customers := make(map[string]customer)
	var amounts []int64
	for _, s := range all { // sorted by date
		c, known := customers[s.customer]
		if s.day > day {
			continue
		}
		if !known {
			c = customer{AsOf: day, Currency: "USD", First: s.day}
		}
		c.Last = s.day
		c.sums = sums{c.Count + 1, c.Items + s.items, c.SpentCents + s.cents}
		if s.day == day {
			c.Day = sums{c.Day.Count + 1, c.Day.Items + s.items, c.Day.SpentCents + s.cents}
			stats.Orders++
			stats.Items += s.items
			stats.RevenueCents += s.cents
			amounts = append(amounts, s.cents)
		}
		customers[s.customer] = c
	}
	for id, c := range customers {
		if c.Last != day {
			delete(customers, id)
			continue
		}
		stats.Customers++
		if c.First == day {
			stats.NewCustomers++
		} else {
			stats.ReturningCustomers++
		}
		stats.TopCustomers = append(stats.TopCustomers, orders.TopCustomer{
			CustomerID: id, Orders: c.Day.Count, Items: c.Day.Items, SpentCents: c.Day.SpentCents,
		})
	}
	top := stats.TopCustomers
	sort.Slice(top, func(i, j int) bool {
		return top[i].SpentCents > top[j].SpentCents || top[i].SpentCents == top[j].SpentCents && top[i].CustomerID < top[j].CustomerID
	})
	if len(top) > 10 {
		stats.TopCustomers = top[:10]
	}
	if n := len(amounts); n > 0 {
		sort.Slice(amounts, func(i, j int) bool { return amounts[i] < amounts[j] })
		stats.AverageOrderCents = rounded(stats.RevenueCents, int64(n))
		stats.MedianOrderCents = amounts[n/2]
		if n%2 == 0 {
			stats.MedianOrderCents = rounded(amounts[n/2-1]+amounts[n/2], 2)
		}
	}
	return stats, customers
}

// rounded divides exactly; big.Rat rounds half away from zero when it prints.
func rounded(sum, n int64) int64 {
	var cents big.Int
	if _, ok := cents.SetString(big.NewRat(sum, n).FloatString(0), 10); !ok {
		return -1
	}
	return cents.Int64()
}

func TestStatisticsAndCustomersEqualAnIndependentComputation(t *testing.T) {
	all := sales(t)
	w := newWorld(t, realOrders(t))
	for _, day := range []string{"1997-01-01", "1997-03-24", "1997-03-30", "1997-09-07", "1998-06-30"} {
		w.mustRun(t, `{"date":"`+day+`"}`)
		wantStats, wantCustomers := recompute(all, day)

		var stats orders.Stats
		if err := json.Unmarshal([]byte(w.files["stats/"+day+".json"]), &stats); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantStats, stats); diff != "" {
			t.Errorf("statistics of %s (-want +got):\n%s", day, diff)
		}
		got := make(map[string]customer)
		before := ""
		for line := range strings.Lines(w.files["customers/"+day+".ndjson"]) {
			var r struct {
				PrimaryEmail string              `json:"primaryEmail"`
				CustomData   map[string]customer `json:"customData"`
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			if r.PrimaryEmail <= before {
				t.Errorf("%s: %s stands after %s", day, r.PrimaryEmail, before)
			}
			before = r.PrimaryEmail
			got[strings.TrimSuffix(r.PrimaryEmail, "@example.com")] = r.CustomData["orders"]
		}
		if diff := cmp.Diff(wantCustomers, got, cmp.AllowUnexported(customer{})); diff != "" {
			t.Errorf("customers of %s (-want +got):\n%s", day, diff)
		}
	}
}

func TestARowLooksAsTheSyncReadsIt(t *testing.T) {
	w := newWorld(t, realOrders(t))
	w.mustRun(t, `{"date":"1997-01-01"}`)
	first, _, _ := strings.Cut(w.files["customers/1997-01-01.ndjson"], "\n")
	want := `{"primaryEmail":"c00004@example.com","customData":{"orders":{"asOf":"1997-01-01","count":1,"items":2,"spentCents":2933,` +
		`"currency":"USD","first":"1997-01-01","last":"1997-01-01","day":{"count":1,"items":2,"spentCents":2933}}}}`
	if first != want {
		t.Errorf("the first row is\n%s\nwant\n%s", first, want)
	}
}
