// Package shop is the company's own API, the one that daily-orders calls: a small online shop for the resource
// https://shopping.api, so that both ends of an access token are exercised.
//
// NewHandler serves it, guarded by an m2m.Verifier; Client calls it:
//
//	GET  /orders?placedOn=1997-03-24     read:orders     the orders of a day
//	GET  /customers?activeOn=1997-03-24  read:orders     who ordered on the day, with totals as of its end
//	GET  /products                       read:products   the catalogue
//	POST /products                       write:products  adds {"name","priceCents"}
//
// A list comes in pages of 100, or of as many as limit says (1 to 500): {"orders": [...], "nextCursor": "..."}. The
// next page is asked for with cursor=...; the last has no nextCursor. A cursor is opaque and good for the list it came
// with. One answer of each, with all fields:
//
//	GET /orders?placedOn=1997-01-02
//	{"orders":[{"id":"o1","customerId":"c1","customerEmail":"c1@example.com","placedOn":"1997-01-02","quantity":2,"totalCents":2933,"currency":"USD"}]}
//
//	GET /customers?activeOn=1997-01-02
//	{"customers":[{"id":"c1","email":"c1@example.com","orders":2,"items":3,"spentCents":3933,"currency":"USD","firstOrder":"1997-01-01","lastOrder":"1997-01-02"}]}
//
//	GET /products?limit=1
//	{"nextCursor":"L3Byb2R1Y3RzIApwMDAwMDE","products":[{"id":"p00001","name":"A CD","priceCents":1499,"currency":"USD"}]}
//
// What is wrong with a request is answered as {"error","error_description"}, naming the parameter.
//
// Days are the shop's own calendar days, as YYYY-MM-DD. Money is in whole cents and never passes through a float.
package shop

import (
	"errors"
	"fmt"
	"time"
)

// Resource is the API's resource indicator, the audience of its access tokens.
const Resource = "https://shopping.api"

// The scopes of the API.
const (
	ScopeReadOrders    = "read:orders"
	ScopeReadProducts  = "read:products"
	ScopeWriteProducts = "write:products"
)

// Scopes is the scope that each route of the API needs.
func Scopes() map[string]string {
	return map[string]string{
		"GET /orders":    ScopeReadOrders,
		"GET /customers": ScopeReadOrders,
		"GET /products":  ScopeReadProducts,
		"POST /products": ScopeWriteProducts,
	}
}

// Currency of all amounts.
const Currency = "USD"

// Order is what one customer bought at once.
type Order struct {
	ID            string `json:"id"`
	CustomerID    string `json:"customerId"`
	CustomerEmail string `json:"customerEmail"`
	PlacedOn      string `json:"placedOn"` // YYYY-MM-DD
	Quantity      int64  `json:"quantity"` // items
	TotalCents    int64  `json:"totalCents"`
	Currency      string `json:"currency"`
}

// Customer is who ordered, with totals of all orders up to the end of the day that was asked for.
type Customer struct {
	ID         string `json:"id"`
	Email      string `json:"email"`
	Orders     int64  `json:"orders"`
	Items      int64  `json:"items"`
	SpentCents int64  `json:"spentCents"`
	Currency   string `json:"currency"`
	FirstOrder string `json:"firstOrder"` // YYYY-MM-DD
	LastOrder  string `json:"lastOrder"`  // YYYY-MM-DD
}

// Product is something the shop sells.
type Product struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	PriceCents int64  `json:"priceCents"`
	Currency   string `json:"currency"`
}

// EmailOf derives a customer's address: c00004 is c00004@example.com.
func EmailOf(customerID string) string { return customerID + "@example.com" }

// CheckDay returns an error that names the form unless day is a date that exists, as YYYY-MM-DD.
func CheckDay(day string) error {
	if day == "" {
		return errors.New("it is missing; give a date as YYYY-MM-DD, such as 1997-03-24")
	}
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return fmt.Errorf("%.40q is not a date of the form YYYY-MM-DD, such as 1997-03-24", day)
	}
	return nil
}
