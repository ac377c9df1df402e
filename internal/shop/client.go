package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// What an answer may have at most, in bytes.
const (
	maxAnswer = 4 << 20
	maxError  = 16 << 10
)

// Client calls the API. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient makes a Client of the API at baseURL (scheme and host, and a path if the API is below one). client adds the
// access token: an http.Client over an m2m.Transport whose Origin is that of baseURL.
func NewClient(baseURL string, client *http.Client) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errors.New("the shop's address is not of the form https://shop.example.com")
	}
	if client == nil {
		return nil, errors.New("the shop's client needs an http.Client that adds the access token")
	}
	own := *client
	// A redirect would carry what is asked for to a host that nobody named.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: strings.TrimSuffix(baseURL, "/"), http: &own}, nil
}

// Error is an answer of the API other than success.
type Error struct {
	Method      string // the request's method
	Path        string // the request's path, without the query
	Status      int    // the HTTP status
	Code        string // the API's error, such as "insufficient_scope"; empty if the answer had none
	Description string // the API's error_description, shortened
	Resource    string // what the API says the token must be for (realm); empty if it did not
	Scope       string // the scope that the request needs
}

// Error names the request, the answer and the mend.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s of the shop: status %d", e.Method, e.Path, e.Status)
	if e.Code != "" {
		fmt.Fprintf(&b, " %s", e.Code)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", e.Description)
	}
	if mend := e.mend(); mend != "" {
		fmt.Fprintf(&b, "; %s", mend)
	}
	return b.String()
}

func (e *Error) mend() string {
	resource := e.Resource
	if resource == "" {
		resource = "the shop's API resource"
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		return fmt.Sprintf("get the token for %s, from the issuer that the shop trusts", resource)
	case e.Status == http.StatusForbidden:
		return fmt.Sprintf("give the app a role with %s of %s (Logto console > Roles > the role > Permissions), and ask for it with the token",
			e.Scope, resource)
	case e.Status == http.StatusNotFound:
		return "check the shop's address: daily-orders needs GET /orders?placedOn= and GET /customers?activeOn=, see go doc ./internal/shop"
	case e.Status == http.StatusTooManyRequests, e.Status >= 500:
		return "run it again later"
	}
	return ""
}

// OrderPages iterates over the pages of the orders of a day, in the order of their ids. The first error ends it.
func (c *Client) OrderPages(ctx context.Context, day string) iter.Seq2[[]Order, error] {
	return pages[Order](ctx, c, "/orders", "orders", url.Values{"placedOn": {day}})
}

// Orders iterates over the orders of a day, in the order of their ids. The first error ends it.
func (c *Client) Orders(ctx context.Context, day string) iter.Seq2[Order, error] {
	return flatten(c.OrderPages(ctx, day))
}

// CustomerPages iterates over the pages of the customers that ordered on a day, with their totals as of the end of it,
// in the order of their ids. The first error ends it.
func (c *Client) CustomerPages(ctx context.Context, day string) iter.Seq2[[]Customer, error] {
	return pages[Customer](ctx, c, "/customers", "customers", url.Values{"activeOn": {day}})
}

// Customers iterates over the customers that ordered on a day, as CustomerPages does. The first error ends it.
func (c *Client) Customers(ctx context.Context, day string) iter.Seq2[Customer, error] {
	return flatten(c.CustomerPages(ctx, day))
}

func flatten[T any](pages iter.Seq2[[]T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for page, err := range pages {
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}

// pages follows the cursors of a list whose entries stand under name.
func pages[T any](ctx context.Context, c *Client, path, name string, query url.Values) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		seen := make(map[string]bool)
		query := maps.Clone(query) // the iterator may be used again
		for {
			entries, next, err := page[T](ctx, c, path, name, query)
			if err == nil && next != "" && (seen[next] || len(entries) == 0) {
				err = fmt.Errorf("GET %s of the shop: its nextCursor leads in a circle; the shop's paging is at fault", path)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(entries, nil) || next == "" {
				return
			}
			seen[next] = true
			query.Set("cursor", next)
		}
	}
}

func page[T any](ctx context.Context, c *Client, path, name string, query url.Values) (entries []T, next string, err error) {
	body, err := c.get(ctx, path, query)
	if err != nil {
		return nil, "", err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, "", fmt.Errorf("GET %s of the shop: the answer is not a JSON object", path)
	}
	if err := json.Unmarshal(members[name], &entries); err != nil || entries == nil {
		return nil, "", fmt.Errorf("GET %s of the shop: the answer has no %s as the API describes them", path, name)
	}
	if cursor, ok := members["nextCursor"]; ok {
		if err := json.Unmarshal(cursor, &next); err != nil {
			return nil, "", fmt.Errorf("GET %s of the shop: nextCursor is not a text", path)
		}
	}
	return entries, next, nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s of the shop: %w", path, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the shop: %w", err) // *url.Error names method and address
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, readError(resp, path)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s of the shop: reading the answer: %w", path, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("GET %s of the shop: the answer is longer than %d bytes", path, maxAnswer)
	}
	return body, nil
}

// readError reads {"error","error_description"} as far as it is there: a proxy's page has neither, and the status says
// enough.
func readError(resp *http.Response, path string) error {
	e := &Error{
		Method: resp.Request.Method, Path: path, Status: resp.StatusCode,
		Resource: realm(resp.Header.Get("WWW-Authenticate")), Scope: ScopeReadOrders,
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		return e
	}
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.NewDecoder(bytes.NewReader(body)).Decode(&said) == nil {
		e.Code, e.Description = printable(said.Error, 60), printable(said.Description, 300)
	}
	return e
}

// realm finds realm="..." in a WWW-Authenticate header of RFC 6750.
func realm(challenge string) string {
	_, rest, ok := strings.Cut(challenge, `realm="`)
	if !ok {
		return ""
	}
	value, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return ""
	}
	return printable(value, 200)
}

// printable keeps a text of others fit for a log line.
func printable(s string, limit int) string {
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
