package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// page is a page that a request asks for.
type page struct{ number, size int }

// pageOf reads page (from 1) and page_size (1 to 100, default 20; recorded: users-page-0, users-page-101).
func pageOf(r *http.Request) (page, *answer) {
	p := page{1, 20}
	q := r.URL.Query()
	for _, f := range []struct {
		name string
		to   *int
		max  int
	}{{"page", &p.number, 1 << 30}, {"page_size", &p.size, 100}} {
		if !q.Has(f.name) {
			continue
		}
		n, err := strconv.Atoi(q.Get(f.name))
		if err != nil || n < 1 || n > f.max {
			a := apiError(http.StatusBadRequest, "guard.invalid_pagination", "The request pagination value is invalid.")
			return p, &a
		}
		*f.to = n
	}
	return p, nil
}

// slice is the part of list that the page shows.
func slice[E any](list []E, p page) []E {
	from := min(len(list), (p.number-1)*p.size)
	return list[from:min(len(list), from+p.size)]
}

// paged answers a page with Total-Number, and Link as Logto makes it: without the /api of the path, so that nobody can follow it.
func paged(r *http.Request, p page, total int, list any) answer {
	h := http.Header{"Total-Number": {strconv.Itoa(total)}}
	last := max(1, (total+p.size-1)/p.size)
	link := func(number int, rel string) {
		h.Add("Link", "<http://"+r.Host+strings.TrimPrefix(r.URL.Path, "/api")+"?"+queryWithPage(r.URL.RawQuery, number)+">; rel=\""+rel+"\"")
	}
	link(1, "first")
	if p.number > 1 {
		link(p.number-1, "prev")
	}
	link(last, "last")
	if p.number < last {
		link(p.number+1, "next")
	}
	return answer{status: http.StatusOK, header: h, body: list}
}

// queryWithPage is the query with another page: parameters in their order, values of a repeated one joined by commas
// (recorded: users-search-ids-exact).
func queryWithPage(raw string, number int) string {
	var keys []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		if err != nil || key == "" {
			continue
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			continue
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
		values[key] = append(values[key], value)
	}
	if !slices.Contains(keys, "page") {
		keys = append(keys, "page")
	}
	values["page"] = []string{strconv.Itoa(number)}
	pairs := make([]string, len(keys))
	for i, k := range keys {
		pairs[i] = url.QueryEscape(k) + "=" + url.QueryEscape(strings.Join(values[k], ","))
	}
	return strings.Join(pairs, "&")
}
