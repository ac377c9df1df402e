package shop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// How many entries a page has.
const (
	pageSize    = 100
	maxPageSize = 500
)

// listQuery is the query of a request for a list.
type listQuery struct {
	list  string // the list's name, with the day: a cursor is good for the same alone
	day   string
	after string // the key of the last entry of the page before; empty: the first page
	limit int
}

// readListQuery reads the query. dayName names the parameter that has the day; empty: there is none. What the list does
// not know is refused, so that a misspelt filter does not pass for none.
func readListQuery(r *http.Request, dayName string) (listQuery, error) {
	q := listQuery{limit: pageSize}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, badRequest("query", errors.New("it is not of the form name=value&name=value"))
	}
	for name, all := range values {
		if name != "cursor" && name != "limit" && (name != dayName || dayName == "") {
			return q, badRequest(fmt.Sprintf("%.40q", name), errors.New("there is no such parameter"))
		}
		if len(all) > 1 {
			return q, badRequest(name, errors.New("it is given more than once"))
		}
	}
	if dayName != "" {
		q.day = values.Get(dayName)
		if err := CheckDay(q.day); err != nil {
			return q, badRequest(dayName, err)
		}
	}
	q.list = r.URL.Path + " " + q.day
	if limit := values.Get("limit"); values.Has("limit") {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > maxPageSize {
			return q, badRequest("limit", fmt.Errorf("%.40q is not a whole number from 1 to %d", limit, maxPageSize))
		}
		q.limit = n
	}
	if values.Has("cursor") {
		after, err := q.readCursor(values.Get("cursor"))
		if err != nil {
			return q, badRequest("cursor", err)
		}
		q.after = after
	}
	return q, nil
}

// cursor makes the cursor of the page after the entry with the key.
func (q listQuery) cursor(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(q.list + "\n" + key))
}

func (q listQuery) readCursor(cursor string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	list, key, ok := strings.Cut(string(raw), "\n")
	if err != nil || !ok || key == "" {
		return "", errors.New("it is not one that this API gave")
	}
	if list != q.list {
		return "", errors.New("it belongs to another list or day")
	}
	return key, nil
}

// cut returns the page that q asks for, of all entries sorted by key, and the cursor of the next; empty: it was the last.
// The cursor names the last key instead of counting, so that entries that come meanwhile shift nothing.
func cut[T any](q listQuery, all []T, key func(T) string) ([]T, string) {
	first := 0
	for q.after != "" && first < len(all) && key(all[first]) <= q.after {
		first++
	}
	page := all[first:]
	if len(page) <= q.limit {
		return append([]T{}, page...), "" // [] in JSON, not null
	}
	page = page[:q.limit]
	return page, q.cursor(key(page[len(page)-1]))
}
