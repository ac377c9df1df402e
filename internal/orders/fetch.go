package orders

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/shop"
)

// fetched is what the shop told of a day.
type fetched struct {
	day       string
	orders    []shop.Order
	customers []shop.Customer
	pages     int64
}

func fetch(ctx context.Context, client *shop.Client, day string, timeLeft func() time.Duration) (*fetched, error) {
	d := &fetched{day: day}
	var err error
	if d.orders, err = collect(client.OrderPages(ctx, day), &d.pages, timeLeft); err != nil {
		return nil, err
	}
	if d.customers, err = collect(client.CustomerPages(ctx, day), &d.pages, timeLeft); err != nil {
		return nil, err
	}
	return d, nil
}

// collect reads all pages, and counts them.
func collect[T any](list iter.Seq2[[]T, error], pages *int64, timeLeft func() time.Duration) ([]T, error) {
	var all []T
	for page, err := range list {
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		*pages++
		if err := enough(timeLeft(), fmt.Sprintf("the page after the %d read so far", *pages)); err != nil {
			return nil, err
		}
	}
	return all, nil
}
