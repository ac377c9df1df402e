package logtotest

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// User is a user to add.
type User struct {
	ID           string // empty: one is made
	Username     string
	PrimaryEmail string
	PrimaryPhone string
	Name         string
	// CustomData is any data that encoding/json can write.
	CustomData map[string]any
}

// user is a stored user. Its custom data is never changed in place, so that an answer may be written outside the lock.
type user struct {
	seq                        int64 // order of creation
	id, username, email, phone string
	name, avatar               string
	customData, profile        object
	suspended                  bool
	createdAt, updatedAt       time.Time
}

// searchable names the properties that a search finds users by quickly; an index has one map a property.
func (u *user) searchable(f func(property, value string)) {
	f("id", u.id)
	f("username", u.username)
	f("primaryEmail", u.email)
	f("primaryPhone", u.phone)
}

// userStore keeps users in the order of their creation and finds them by property.
type userStore struct {
	seq    int64
	list   []*user                       // oldest first
	exact  map[string]map[string][]*user // property -> value
	folded map[string]map[string][]*user // property -> value in lower case
}

func newUserStore() userStore {
	s := userStore{exact: map[string]map[string][]*user{}, folded: map[string]map[string][]*user{}}
	(&user{}).searchable(func(property, _ string) {
		s.exact[property] = map[string][]*user{}
		s.folded[property] = map[string][]*user{}
	})
	return s
}

func (s *userStore) byID(id string) *user {
	if found := s.exact["id"][id]; len(found) > 0 {
		return found[0]
	}
	return nil
}

func (s *userStore) add(u *user) {
	s.seq++
	u.seq = s.seq
	s.list = append(s.list, u)
	s.index(u)
}

func (s *userStore) index(u *user) {
	u.searchable(func(property, value string) {
		if value != "" {
			s.exact[property][value] = append(s.exact[property][value], u)
			lower := strings.ToLower(value)
			s.folded[property][lower] = append(s.folded[property][lower], u)
		}
	})
}

func (s *userStore) unindex(u *user) {
	remove := func(m map[string][]*user, value string) {
		if m[value] = slices.DeleteFunc(m[value], func(o *user) bool { return o == u }); len(m[value]) == 0 {
			delete(m, value)
		}
	}
	u.searchable(func(property, value string) {
		if value != "" {
			remove(s.exact[property], value)
			remove(s.folded[property], strings.ToLower(value))
		}
	})
}

func (s *userStore) remove(u *user) {
	s.unindex(u)
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].seq >= u.seq })
	s.list = slices.Delete(s.list, i, i+1)
}

// AddUser adds a user and returns its id. Like every change of a user it fires the hooks that listen.
func (t *Tenant) AddUser(in User) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	u := &user{id: in.ID, username: in.Username, email: in.PrimaryEmail, phone: in.PrimaryPhone, name: in.Name,
		customData: object{}, profile: object{}, createdAt: now, updatedAt: now}
	if data, ok := toJS(in.CustomData).(map[string]any); ok && data != nil {
		u.customData = data
	}
	if u.id == "" {
		u.id = newUserID()
	}
	if t.users.byID(u.id) != nil {
		t.fail("a user %q exists already", u.id)
		return u.id
	}
	t.users.add(u)
	t.fireCreated(u, "")
	return u.id
}

// CustomData returns a copy of what is stored for a user; numbers are json.Number. Nil: no such user.
func (t *Tenant) CustomData(id string) map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(id)
	if u == nil {
		return nil
	}
	data, ok := fromJS(map[string]any(u.customData)).(map[string]any)
	if !ok {
		return nil
	}
	return data
}

// SetCustomData replaces a user's custom data from outside, as somebody else's write would.
func (t *Tenant) SetCustomData(id string, data map[string]any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(id)
	if u == nil {
		t.fail("no user %q: add it with AddUser", id)
		return
	}
	stored, ok := toJS(data).(map[string]any)
	if !ok || stored == nil {
		stored = map[string]any{}
	}
	t.setCustomData(u, stored)
	t.fireUpdated(u, "")
}

// setCustomData replaces the data of a stored user. The caller holds t.mu.
func (t *Tenant) setCustomData(u *user, data map[string]any) {
	u.customData, u.updatedAt = data, t.now()
}

// merged is the data after a merge at the top level.
func merged(old object, patch map[string]any) map[string]any {
	out := make(map[string]any, len(old)+len(patch))
	maps.Copy(out, old)
	maps.Copy(out, patch)
	return out
}

// DeleteUser deletes a user.
func (t *Tenant) DeleteUser(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.users.byID(id); u != nil {
		t.users.remove(u)
		t.fireDeleted(u, "")
	}
}

// Users is how many users there are.
func (t *Tenant) Users() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.users.list)
}
