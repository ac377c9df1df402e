package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// totals computes from the orders' file what every customer of a day should have in Logto, without any code of ours.
const totals = `
NR > 1 && $3 <= day {
	cents = $5; sub(/\./, "", cents)
	count[$2]++; items[$2] += $4; spent[$2] += cents
	if (!($2 in first)) first[$2] = $3
	last[$2] = $3
	if ($3 == day) { dcount[$2]++; ditems[$2] += $4; dspent[$2] += cents; orders++; revenue += cents }
}
END {
	for (c in dcount) print c, count[c], items[c], spent[c], first[c], last[c], dcount[c], ditems[c], dspent[c]
	print "day", orders, revenue
}`

func TestEveryCustomersDataEqualsAnIndependentComputation(t *testing.T) {
	const day = "1997-03-24"
	awk := exec.Command("awk", "-F,", "-v", "day="+day, totals, "../../internal/shop/cdnow/orders.csv")
	out, err := awk.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(want)
	if !slices.Contains(want, "day 60 177679") {
		t.Fatalf("the computation itself does not find 60 orders for 1,776.79 USD")
	}

	world := newWorld(t, t.TempDir(), nil)
	for _, step := range []struct{ name, params string }{
		{function.DailyOrders, fmt.Sprintf(`{"date":%q}`, day)},
		{function.SyncCustomData, fmt.Sprintf(`{"source":%q}`, filepath.Join(world.Dir, "out", "customers", day+".ndjson"))},
	} {
		handler, err := function.Handler(step.name, world.Environment(step.name), func(c *jobs.Config) { c.Log = io.Discard })
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := handler.Invoke(t.Context(), []byte(step.params)); err != nil {
			t.Fatalf("%s: %v\n%s", step.name, err, answer)
		}
	}
	got := []string{"day 60 177679"}
	for _, line := range want {
		customer, _, _ := strings.Cut(line, " ")
		if customer == "day" {
			continue
		}
		o := world.CustomData(customer + "@example.com")["orders"].(map[string]any)
		d := o["day"].(map[string]any)
		got = append(got, fmt.Sprint(customer, " ", o["count"], " ", o["items"], " ", o["spentCents"], " ", o["first"], " ", o["last"],
			" ", d["count"], " ", d["items"], " ", d["spentCents"]))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
