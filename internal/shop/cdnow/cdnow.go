// Package cdnow carries real orders for the example shop: those of CDNOW, 1997-01-01 to 1998-06-30. Its README.md says
// where they come from.
package cdnow

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/shop"
)

//go:embed orders.csv
var csv string

// Orders returns the 6,919 orders in the order of their ids, which is that of their dates.
func Orders() ([]shop.Order, error) {
	orders, err := shop.ReadOrders(strings.NewReader(csv))
	if err != nil {
		return nil, fmt.Errorf("reading the orders of CDNOW: %w", err)
	}
	return orders, nil
}
