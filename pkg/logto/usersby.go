package logto

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// MaxUsersBy is how many values UsersBy takes at once: one page.
const MaxUsersBy = 100

const (
	pageSize = 100 // the largest that Logto gives (recorded: users-page-101)
	// maxQuery is how long the query of a search may be. The limit of Node.js is 16 kB for all headers; 13 kB were seen to
	// work (recorded: users-search-300-emails-exact).
	maxQuery = 12_000
)

// UsersBy finds users by up to MaxUsersBy values of one key, in one request (more only where the address would
// exceed what a server's header limit takes). The answer has the users found for each value asked; a value that
// nobody has is absent, and so is one that nobody can have: an empty one, or text that PostgreSQL can't store. E-mail
// addresses are found whatever their letter case, the other keys by exact case; more than one user for a value is
// possible only for e-mail addresses that differ by case.
func (c *Client) UsersBy(ctx context.Context, key Key, values []string) (map[string][]User, error) {
	if _, ok := key.of(User{}); !ok {
		return nil, fmt.Errorf("finding users by %q: not a key; keys are %s, %s, %s, %s", key, ByID, ByEmail, ByUsername, ByPhone)
	}
	if len(values) > MaxUsersBy {
		return nil, fmt.Errorf("finding users by %s: %d values at once, at most %d are taken", key, len(values), MaxUsersBy)
	}
	asked := newAskedValues(key, values)
	found := make(map[string][]User, len(values))
	for _, query := range asked.queries() {
		if err := c.search(ctx, query, func(u User) {
			for _, value := range asked.matching(u) {
				found[value] = append(found[value], u)
			}
		}); err != nil {
			return nil, fmt.Errorf("finding users by %s: %w", key, err)
		}
	}
	return found, nil
}

// search calls f for each user of all pages of a search.
func (c *Client) search(ctx context.Context, query url.Values, f func(User)) error {
	seen := map[string]bool{}
	for number := 1; ; number++ {
		users, total, err := c.page(ctx, query, number)
		if err != nil {
			return err
		}
		for _, u := range users {
			if !seen[u.ID] {
				seen[u.ID] = true
				f(u)
			}
		}
		if isLast(number, len(users), total) {
			return nil
		}
	}
}

// askedValues maps what is found back to what was asked.
type askedValues struct {
	key    Key
	values []string            // each once, without those that nobody can have
	folded map[string][]string // for e-mail addresses: lower case -> values
}

func newAskedValues(key Key, values []string) askedValues {
	a := askedValues{key: key, folded: map[string][]string{}}
	seen := map[string]bool{}
	for _, v := range values {
		if v == "" || seen[v] || !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			continue
		}
		seen[v] = true
		a.values = append(a.values, v)
		a.folded[a.fold(v)] = append(a.folded[a.fold(v)], v)
	}
	return a
}

func (a askedValues) fold(v string) string {
	if a.key == ByEmail {
		return strings.ToLower(v)
	}
	return v
}

// matching are the values asked that the user has.
func (a askedValues) matching(u User) []string {
	value, _ := a.key.of(u)
	return a.folded[a.fold(value)]
}

// queries are the searches that ask for the values: one, unless it would be too long. A value that is too long by itself is
// longer than any that Logto stores.
func (a askedValues) queries() []url.Values {
	base := url.Values{"mode." + string(a.key): {"exact"}}
	if a.key != ByEmail {
		// Without it Logto ignores letter case (recorded: users-search-email-case).
		base.Set("isCaseSensitive", "true")
	}
	name := "search." + string(a.key)
	room := maxQuery - len(base.Encode()) - len("&page=1000&page_size=100")
	var queries []url.Values
	var values []string
	used := 0
	flush := func() {
		if len(values) == 0 {
			return
		}
		q := url.Values{name: values}
		for k, v := range base {
			q[k] = v
		}
		queries = append(queries, q)
		values, used = nil, 0
	}
	// Values that differ by case alone are one search for an e-mail address.
	sent := map[string]bool{}
	for _, v := range a.values {
		size := len(name) + len(url.QueryEscape(v)) + 2
		if sent[a.fold(v)] || size > room {
			continue
		}
		sent[a.fold(v)] = true
		if used+size > room {
			flush()
		}
		values, used = append(values, v), used+size
	}
	flush()
	return queries
}
