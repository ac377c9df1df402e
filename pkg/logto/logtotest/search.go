package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// listUsers answers a page of users, newest first, that a search finds; without a search, of all.
func (t *Tenant) listUsers(r *http.Request) answer {
	p, refused := pageOf(r)
	if refused != nil {
		return *refused
	}
	s, refused := searchOf(r.URL.Query())
	if refused != nil {
		return *refused
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*user
	total := len(t.users.list)
	if s == nil {
		// Newest first, without making a copy of all users.
		for n := (p.number - 1) * p.size; n < min(total, p.number*p.size); n++ {
			found = append(found, t.users.list[total-1-n])
		}
	} else {
		all := s.find(&t.users)
		total = len(all)
		found = slice(all, p)
	}
	list := make([]fields, len(found))
	for i, u := range found {
		list[i] = u.json()
	}
	return paged(r, p, total, list)
}

// search is what a query looks for: conditions that all (joint=and) or any must hold.
type search struct {
	conditions []condition
	all        bool
}

type condition struct {
	property      string // empty: any
	values        []string
	exact         bool
	caseSensitive bool
}

// searchOf reads search, search.{property}, mode.{property}, isCaseSensitive and joint. The modes are like (with %) and
// exact; of Logto's other two, similar_to and posix, nothing is known here, so they find nobody.
func searchOf(q url.Values) (*search, *answer) {
	refuse := func(message string) (*search, *answer) {
		a := apiErrorWith(http.StatusBadRequest, "request.invalid_input", "Input is invalid. "+message, fields{}, "")
		return nil, &a
	}
	s := &search{all: q.Get("joint") == "and"}
	for name, values := range q {
		property, isField := strings.CutPrefix(name, "search.")
		if name != "search" && !isField {
			continue
		}
		if isField && !slices.Contains([]string{"id", "primaryEmail", "primaryPhone", "username", "name"}, property) {
			return refuse("Search field `" + snake(property) + "` is not valid, expect one of id, primary_email, primary_phone, username, name.")
		}
		mode := q.Get("mode")
		if isField {
			mode = q.Get("mode." + property)
		} else {
			property = ""
		}
		if mode != "exact" && len(values) > 1 {
			return refuse("Only one search value is allowed when search mode is not `exact`.")
		}
		if mode != "exact" && mode != "" && mode != "like" {
			values = nil
		}
		s.conditions = append(s.conditions, condition{property, values, mode == "exact", q.Get("isCaseSensitive") == "true"})
	}
	if len(s.conditions) == 0 {
		return nil, nil
	}
	return s, nil
}

// snake is a property's name in Logto's database.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// find returns the users found, newest first.
func (s *search) find(users *userStore) []*user {
	if len(s.conditions) == 1 {
		if found, ok := s.conditions[0].indexed(users); ok {
			return found
		}
	}
	var found []*user
	for _, u := range slices.Backward(users.list) {
		holds := func(c condition) bool { return c.matches(u) }
		if s.all && !slices.ContainsFunc(s.conditions, func(c condition) bool { return !holds(c) }) ||
			!s.all && slices.ContainsFunc(s.conditions, holds) {
			found = append(found, u)
		}
	}
	return found
}

// indexed answers an exact search for one property from the index.
func (c condition) indexed(users *userStore) ([]*user, bool) {
	index := users.folded[c.property]
	if c.caseSensitive {
		index = users.exact[c.property]
	}
	if !c.exact || index == nil {
		return nil, false
	}
	var found []*user
	for _, v := range c.values {
		if !c.caseSensitive {
			v = strings.ToLower(v)
		}
		found = append(found, index[v]...)
	}
	slices.SortFunc(found, func(a, b *user) int { return int(b.seq - a.seq) })
	return slices.Compact(found), true
}

func (c condition) matches(u *user) bool {
	check := func(value string) bool {
		if value == "" {
			return false
		}
		return slices.ContainsFunc(c.values, func(pattern string) bool {
			if !c.caseSensitive {
				pattern, value = strings.ToLower(pattern), strings.ToLower(value)
			}
			if c.exact {
				return pattern == value
			}
			return like(pattern, value)
		})
	}
	ok := (c.property == "" || c.property == "name") && check(u.name)
	u.searchable(func(property, value string) {
		if c.property == "" || c.property == property {
			ok = ok || check(value)
		}
	})
	return ok
}

// like is SQL's LIKE with % alone.
func like(pattern, value string) bool {
	parts := strings.Split(pattern, "%")
	if len(parts) == 1 {
		return pattern == value
	}
	value, ok := strings.CutPrefix(value, parts[0])
	if !ok || !strings.HasSuffix(value, parts[len(parts)-1]) {
		return false
	}
	value = strings.TrimSuffix(value, parts[len(parts)-1])
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(value, part)
		if i < 0 {
			return false
		}
		value = value[i+len(part):]
	}
	return true
}
