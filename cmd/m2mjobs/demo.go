package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

type demonstrate struct {
	Day    string `default:"1997-03-24" help:"The day whose orders are fetched, YYYY-MM-DD."`
	Orders string `type:"existingfile" placeholder:"FILE" help:"Another file of orders: order_id,customer_id,placed_on,quantity,total_usd."`
	Serve  bool   `help:"Keep tenant and shop up, and print what to try."`
	Dir    string `type:"path" placeholder:"DIR" help:"Where secrets and output go. Default: a temporary folder, removed at the end."`
}

// Help is shown by --help.
func (demonstrate) Help() string {
	return `Starts a Logto tenant and a shop's API in memory, on this machine alone, with 6,919 real orders of the years
1997 and 1998, and runs the functions' own jobs against them over HTTP: daily-orders fetches a day's orders and writes
its statistics and a row for each customer, sync-custom-data brings the customers' custom data in Logto up to date. Then
both run again, warm: with the token they have, and with nothing to change. The jobs' logs are in DIR/log.ndjson.`
}

// Run runs both jobs twice.
func (c *demonstrate) Run(ctx context.Context, io stdio) (err error) {
	if _, err := time.Parse(time.DateOnly, c.Day); err != nil {
		return usage(fmt.Errorf("--day %q is not of the form YYYY-MM-DD", c.Day))
	}
	orders, err := c.orders()
	if err != nil {
		return usage(err)
	}
	if !slices.ContainsFunc(orders, func(o shop.Order) bool { return o.PlacedOn == c.Day }) {
		return usage(fmt.Errorf("no orders on %s: choose another --day%s", c.Day, span(orders)))
	}
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "m2mjobs-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	world, err := demo.Start(dir, orders)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	show := &show{w: io.out, world: world, day: c.Day}
	if err := c.runJobs(ctx, io, world, show); err != nil {
		return err
	}
	if !c.Serve {
		return show.err
	}
	show.serving()
	<-ctx.Done()
	return show.err
}

// orders reads the shop's orders.
func (c *demonstrate) orders() ([]shop.Order, error) {
	if c.Orders == "" {
		return cdnow.Orders()
	}
	file, err := os.Open(c.Orders)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	orders, err := shop.ReadOrders(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Orders, err)
	}
	return orders, nil
}

// span says which days there are.
func span(orders []shop.Order) string {
	if len(orders) == 0 {
		return ", from a file that has some"
	}
	first, last := orders[0].PlacedOn, orders[0].PlacedOn
	for _, o := range orders {
		first, last = min(first, o.PlacedOn), max(last, o.PlacedOn)
	}
	return fmt.Sprintf(", of %s to %s", first, last)
}

// runJobs runs daily-orders and sync-custom-data cold, then both warm.
func (c *demonstrate) runJobs(ctx context.Context, io stdio, world *demo.World, show *show) error {
	log, err := os.OpenFile(filepath.Join(world.Dir, "log.ndjson"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	adapt := func(config *jobs.Config) { config.Log = log }
	daily, err := function.Handler(function.DailyOrders, world.Environment(function.DailyOrders), adapt)
	if err != nil {
		return err
	}
	sync, err := function.Handler(function.SyncCustomData, world.Environment(function.SyncCustomData), adapt)
	if err != nil {
		return err
	}
	rows := filepath.Join(world.Dir, "out", "customers", c.Day+".ndjson")
	show.intro()
	for _, state := range []string{"cold", "warm"} {
		report, err := invokeOnce(ctx, daily, map[string]string{"date": c.Day})
		if err != nil {
			return err
		}
		show.orders(state, report)
		if state == "cold" {
			show.before(rows)
		}
		report, err = invokeOnce(ctx, sync, map[string]string{"source": rows, "newer": "orders.asOf"})
		if err != nil {
			return err
		}
		show.sync(state, report)
		if state == "cold" {
			show.after()
		}
	}
	return show.err
}

// invokeOnce runs a handler with params by hand.
func invokeOnce(ctx context.Context, handler lambda.Handler, params map[string]string) (jobs.Report, error) {
	var report jobs.Report
	event, err := json.Marshal(params)
	if err != nil {
		return report, err
	}
	answer, err := handler.Invoke(ctx, event)
	if err != nil {
		return report, err
	}
	return report, json.Unmarshal(answer, &report)
}
