package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/fatih/color"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// show writes what the demo does for a person to read. The first error of writing is kept.
type show struct {
	w     io.Writer
	err   error
	world *demo.World
	day   string
	user  string // whose custom data is shown
}

func (s *show) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil && s.err == nil {
		s.err = err
	}
}

func (s *show) heading(format string, args ...any) {
	s.printf("\n%s\n", color.New(color.Bold).Sprintf(format, args...))
}

// rows prints a table of two columns.
func (s *show) rows(rows ...[2]string) {
	table := tabwriter.NewWriter(s.w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(table, "  %s\t%s\n", row[0], row[1])
	}
	if err := table.Flush(); err != nil && s.err == nil {
		s.err = err
	}
}

func (s *show) intro() {
	s.printf("Logto in memory at %s with %s users, the shop's API at %s.\n", s.world.Tenant.URL, number(int64(s.world.Tenant.Users())), s.world.ShopURL)
}

// orders reports a run of daily-orders.
func (s *show) orders(state string, report jobs.Report) {
	var result orders.Result
	if err := json.Unmarshal(report.Result, &result); err != nil && s.err == nil {
		s.err = err
	}
	s.heading("%s of %s, %s", function.DailyOrders, s.day, state)
	s.rows(
		[2]string{"orders", number(result.Orders) + " with " + number(result.Items) + " items"},
		[2]string{"revenue", cents(result.RevenueCents) + " " + result.Currency},
		[2]string{"an order", "average " + cents(result.AverageOrderCents) + ", median " + cents(result.MedianOrderCents)},
		[2]string{"customers", fmt.Sprintf("%s: %s new, %s returning", number(result.Summary.Customers), number(result.NewCustomers), number(result.ReturningCustomers))},
		used(report),
	)
}

// sync reports a run of sync-custom-data.
func (s *show) sync(state string, report jobs.Report) {
	s.heading("%s with its rows, %s", function.SyncCustomData, state)
	count := func(name string) string { return number(report.Counts[name]) }
	s.rows(
		[2]string{"rows", count("rows")},
		[2]string{"changed", color.New(color.FgGreen).Sprint(count("changed"))},
		[2]string{"unchanged", count("unchanged")},
		[2]string{"not used", fmt.Sprintf("%s missing, %s rejected, %s stale", count("missing"), count("rejected"), count("stale"))},
		used(report),
	)
}

// used is what a run cost.
func used(report jobs.Report) [2]string {
	return [2]string{"used", fmt.Sprintf("requests %s, tokens %s, secret reads %s, %s ms",
		number(report.Requests), number(report.Tokens), number(report.SecretReads), number(report.DurationMS))}
}

// before shows the custom data of the first customer of the rows.
func (s *show) before(rows string) {
	s.user = firstCustomer(rows)
	if s.user != "" {
		s.heading("Custom data of %s in Logto", s.user)
		s.rows([2]string{"before", s.customData()})
	}
}

func (s *show) after() {
	if s.user != "" {
		s.heading("Custom data of %s in Logto", s.user)
		s.rows([2]string{"after", s.customData()})
	}
}

func (s *show) customData() string {
	data, err := json.Marshal(s.world.CustomData(s.user))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// firstCustomer is the e-mail address in the first row of a file; empty if there is none.
func firstCustomer(rows string) string {
	data, err := os.ReadFile(rows)
	if err != nil {
		return ""
	}
	line, err := bufio.NewReader(bytes.NewReader(data)).ReadBytes('\n')
	var row struct{ PrimaryEmail string }
	if err != nil || json.Unmarshal(line, &row) != nil {
		return ""
	}
	return row.PrimaryEmail
}

// serving prints what to try while the servers are up.
func (s *show) serving() {
	sync, daily := s.world.EnvironmentFile(function.SyncCustomData), s.world.EnvironmentFile(function.DailyOrders)
	yours := s.world.EnvironmentFile(demo.YourJob)
	s.heading("Still up; Ctrl-C ends it. Try, in another terminal:")
	s.printf(`
  TOKEN=$(m2mjobs token --raw --env-file %[1]s)
  curl -H "Authorization: Bearer $TOKEN" '%[3]s/api/users?page_size=2'

  TOKEN=$(m2mjobs token --raw --env-file %[2]s --resource %[5]s --scope read:orders)
  curl -H "Authorization: Bearer $TOKEN" '%[4]s/orders?placedOn=%[6]s'

  m2mjobs token --env-file %[1]s
  m2mjobs token --env-file %[8]s --resource %[5]s --scope read:products
  m2mjobs invoke daily-orders --env-file %[2]s --event '{"date": "%[6]s"}'
  m2mjobs invoke sync-custom-data --env-file %[1]s --event '{"rows": [{"primaryEmail": "%[7]s", "customData": {"plan": "pro"}}]}'

m2mjobs is this command: go install ./cmd/m2mjobs, or go run ./cmd/m2mjobs in its place.
`, sync, daily, s.world.Tenant.URL, s.world.ShopURL, shop.Resource, s.day, s.user, yours)
}

// cents writes an amount as 1,776.79.
func cents(amount int64) string {
	return fmt.Sprintf("%s.%02d", number(amount/100), amount%100)
}

// number writes 6919 as 6,919.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// several is a number of things that have a plural, as in "2 rows" and "1 row was".
func several(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}
