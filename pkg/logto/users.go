package logto

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// User is a user of the tenant, as far as jobs need it.
type User struct {
	ID           string
	Username     string // empty: none
	PrimaryEmail string // empty: none
	PrimaryPhone string // empty: none
	Name         string // empty: none
	// CustomData is what is stored; numbers are json.Number, so that no digit is lost.
	CustomData  map[string]any
	IsSuspended bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// userJSON is a user as the Management API shows it; null leaves a field empty.
type userJSON struct {
	ID           string         `json:"id"`
	Username     string         `json:"username"`
	PrimaryEmail string         `json:"primaryEmail"`
	PrimaryPhone string         `json:"primaryPhone"`
	Name         string         `json:"name"`
	CustomData   map[string]any `json:"customData"`
	IsSuspended  bool           `json:"isSuspended"`
	CreatedAt    int64          `json:"createdAt"` // milliseconds
	UpdatedAt    int64          `json:"updatedAt"`
}

func (u userJSON) user() User {
	return User{
		ID: u.ID, Username: u.Username, PrimaryEmail: u.PrimaryEmail, PrimaryPhone: u.PrimaryPhone, Name: u.Name,
		CustomData: u.CustomData, IsSuspended: u.IsSuspended,
		CreatedAt: time.UnixMilli(u.CreatedAt).UTC(), UpdatedAt: time.UnixMilli(u.UpdatedAt).UTC(),
	}
}

// Key is a property that finds a user.
type Key string

// The keys that the Management API can search users by exactly.
const (
	ByID       Key = "id"
	ByEmail    Key = "primaryEmail"
	ByUsername Key = "username"
	ByPhone    Key = "primaryPhone"
)

// of is the user's value of the key.
func (k Key) of(u User) (value string, ok bool) {
	switch k {
	case ByID:
		return u.ID, true
	case ByEmail:
		return u.PrimaryEmail, true
	case ByUsername:
		return u.Username, true
	case ByPhone:
		return u.PrimaryPhone, true
	}
	return "", false
}

// User gets one user by id. Nobody with this id: ErrNotFound.
func (c *Client) User(ctx context.Context, id string) (*User, error) {
	path, err := userPath(id, "")
	if err != nil {
		return nil, fmt.Errorf("getting a user: %w", err)
	}
	var u userJSON
	if _, err := c.do(ctx, http.MethodGet, path, nil, nil, &u); err != nil {
		return nil, fmt.Errorf("getting a user: %w", err)
	}
	user := u.user()
	return &user, nil
}

// keptPages is how many pages back Users knows a user again.
const keptPages = 10

// Users iterates over all users, newest first, a page of 100 a request. An error ends it.
//
// Logto pages by offset, so users who come or go during the scan shift it. A user who is there all the time is seen once if
// users are only created meanwhile (twice at worst, where 1,000 are created between two pages); for each user who is deleted
// meanwhile one other may be missed. Users created after the scan began may be missed.
func (c *Client) Users(ctx context.Context) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		var recent []map[string]bool // ids of the last pages
		for number := 1; ; number++ {
			users, total, err := c.page(ctx, nil, number)
			if err != nil {
				yield(User{}, fmt.Errorf("listing users: %w", err))
				return
			}
			ids := make(map[string]bool, len(users))
			for _, u := range users {
				ids[u.ID] = true
				if !isIn(recent, u.ID) && !yield(u, nil) {
					return
				}
			}
			if isLast(number, len(users), total) {
				return
			}
			if recent = append(recent, ids); len(recent) > keptPages {
				recent = recent[1:]
			}
		}
	}
}

func isIn(pages []map[string]bool, id string) bool {
	for _, ids := range pages {
		if ids[id] {
			return true
		}
	}
	return false
}

// page gets one page of users and their total number, -1 if unknown. The Link header is no help: its addresses lack /api
// (recorded: users-page-1).
func (c *Client) page(ctx context.Context, query url.Values, number int) ([]User, int, error) {
	q := url.Values{"page": {strconv.Itoa(number)}, "page_size": {strconv.Itoa(pageSize)}}
	for k, v := range query {
		q[k] = v
	}
	var list []userJSON
	header, err := c.do(ctx, http.MethodGet, "/users", q, nil, &list)
	if err != nil {
		return nil, 0, err
	}
	users := make([]User, len(list))
	for i, u := range list {
		users[i] = u.user()
	}
	return users, totalNumber(header), nil
}

// isLast tells whether no page follows.
func isLast(number, length, total int) bool {
	if total < 0 {
		return length < pageSize
	}
	return length == 0 || number*pageSize >= total
}
