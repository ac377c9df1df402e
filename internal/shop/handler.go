package shop

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// maxProduct bounds the body of POST /products, in bytes.
const maxProduct = 16 << 10

// NewHandler serves the API for the orders, to who bears a token that verifier accepts.
func NewHandler(verifier *m2m.Verifier, orders []Order) http.Handler {
	s := newServer(orders)
	handlers := map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /orders": s.orders, "GET /customers": s.customers, "GET /products": s.products, "POST /products": s.addProduct,
	}
	mux := http.NewServeMux()
	for route, scope := range Scopes() {
		mux.Handle(route, verifier.Middleware(scope)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := handlers[route](w, r); err != nil {
				refuse(w, err)
			}
		})))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &refusal{status: http.StatusNotFound, code: "not_found", description: "there is no such path or method"})
	})
	return mux
}

// server is the shop's data. All but the catalogue stays as it is.
type server struct {
	byDay      map[string][]Order // sorted by id
	byCustomer map[string][]Order

	mu        sync.Mutex
	catalogue []Product // sorted by id
}

func newServer(orders []Order) *server {
	s := &server{
		byDay:      make(map[string][]Order),
		byCustomer: make(map[string][]Order),
		catalogue: []Product{
			{ID: "p00001", Name: "A CD", PriceCents: 1499, Currency: Currency},
			{ID: "p00002", Name: "A double CD", PriceCents: 2399, Currency: Currency},
			{ID: "p00003", Name: "A box of four CDs", PriceCents: 4999, Currency: Currency},
		},
	}
	for _, o := range orders {
		s.byDay[o.PlacedOn] = append(s.byDay[o.PlacedOn], o)
		s.byCustomer[o.CustomerID] = append(s.byCustomer[o.CustomerID], o)
	}
	for _, day := range s.byDay {
		slices.SortFunc(day, func(a, b Order) int { return cmp.Compare(a.ID, b.ID) })
	}
	return s
}

func (s *server) orders(w http.ResponseWriter, r *http.Request) error {
	q, err := readListQuery(r, "placedOn")
	if err != nil {
		return err
	}
	page, next := cut(q, s.byDay[q.day], func(o Order) string { return o.ID })
	return answerPage(w, "orders", page, next)
}

func (s *server) customers(w http.ResponseWriter, r *http.Request) error {
	q, err := readListQuery(r, "activeOn")
	if err != nil {
		return err
	}
	ids := make(map[string]bool)
	for _, o := range s.byDay[q.day] {
		ids[o.CustomerID] = true
	}
	page, next := cut(q, slices.Sorted(maps.Keys(ids)), func(id string) string { return id })
	customers := make([]Customer, 0, len(page))
	for _, id := range page {
		customers = append(customers, s.customer(id, q.day))
	}
	return answerPage(w, "customers", customers, next)
}

// customer adds up a customer's orders to the end of the day.
func (s *server) customer(id, day string) Customer {
	c := Customer{ID: id, Currency: Currency}
	for _, o := range s.byCustomer[id] {
		if o.PlacedOn > day {
			continue
		}
		c.Email = o.CustomerEmail
		c.Orders++
		c.Items += o.Quantity
		c.SpentCents += o.TotalCents
		if c.FirstOrder == "" || o.PlacedOn < c.FirstOrder {
			c.FirstOrder = o.PlacedOn
		}
		c.LastOrder = max(c.LastOrder, o.PlacedOn)
	}
	return c
}

func (s *server) products(w http.ResponseWriter, r *http.Request) error {
	q, err := readListQuery(r, "")
	if err != nil {
		return err
	}
	s.mu.Lock()
	page, next := cut(q, slices.Clone(s.catalogue), func(p Product) string { return p.ID })
	s.mu.Unlock()
	return answerPage(w, "products", page, next)
}

func (s *server) addProduct(w http.ResponseWriter, r *http.Request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "invalid_request", "send the product as application/json"}
	}
	var p struct {
		Name       string `json:"name"`
		PriceCents *int64 `json:"priceCents"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxProduct))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return badRequest("body", errors.New(`it is not a product {"name","priceCents"}`))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("body", errors.New("something follows the product"))
	}
	if strings.TrimSpace(p.Name) == "" || len(p.Name) > 200 {
		return badRequest("name", errors.New("give 1 to 200 bytes of text"))
	}
	if p.PriceCents == nil || *p.PriceCents < 0 {
		return badRequest("priceCents", errors.New("give a whole number of cents from 0"))
	}
	s.mu.Lock()
	added := Product{ID: fmt.Sprintf("p%05d", len(s.catalogue)+1), Name: p.Name, PriceCents: *p.PriceCents, Currency: Currency}
	s.catalogue = append(s.catalogue, added)
	s.mu.Unlock()
	return answer(w, http.StatusCreated, added)
}

// refusal is an answer other than success.
type refusal struct {
	status            int
	code, description string
}

func (e *refusal) Error() string { return e.code + ": " + e.description }

func badRequest(parameter string, err error) error {
	return &refusal{http.StatusBadRequest, "invalid_request", fmt.Sprintf("%s: %v", parameter, err)}
}

func refuse(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*refusal](err)
	if !ok {
		e = &refusal{http.StatusInternalServerError, "server_error", "the answer could not be made"}
	}
	if err := answer(w, e.status, map[string]string{"error": e.code, "error_description": e.description}); err != nil {
		http.Error(w, e.code, e.status)
	}
}

// answerPage answers {name: entries}, with nextCursor unless the page is the last.
func answerPage(w http.ResponseWriter, name string, entries any, next string) error {
	page := map[string]any{name: entries}
	if next != "" {
		page["nextCursor"] = next
	}
	return answer(w, http.StatusOK, page)
}

func answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		return nil // the caller is gone, and with it who could be told
	}
	return nil
}
