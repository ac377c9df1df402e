// Package logto calls the parts of Logto's Management API that jobs need.
package logto

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Config says which tenant a Client talks to.
type Config struct {
	// Endpoint is the tenant's address, as in m2m.Credentials. Required.
	Endpoint string
	// HTTPClient sends the requests and adds the access token: an http.Client over an m2m.Transport. Required.
	HTTPClient *http.Client
}

// Client calls the Management API.
type Client struct{}

// NewClient makes a Client. It sends nothing yet.
func NewClient(c Config) (*Client, error) { panic("TODO") }

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

// Key is a property that finds a user.
type Key string

// The keys that the Management API can search users by exactly.
const (
	ByID       Key = "id"
	ByEmail    Key = "primaryEmail"
	ByUsername Key = "username"
	ByPhone    Key = "primaryPhone"
)

// MaxUsersBy is how many values UsersBy takes at once: one page.
const MaxUsersBy = 100

// UsersBy finds users by up to MaxUsersBy values of one key, in one request (more only where the address would
// exceed what a server's header limit takes). The answer has the users found for each value asked; a value that
// nobody has is absent. E-mail addresses are found whatever their letter case, the other keys by exact case; more
// than one user for a value is possible only for e-mail addresses that differ by case.
func (c *Client) UsersBy(ctx context.Context, key Key, values []string) (map[string][]User, error) {
	panic("TODO")
}

// User gets one user by id.
func (c *Client) User(ctx context.Context, id string) (*User, error) { panic("TODO") }

// Users iterates over all users, newest first.
func (c *Client) Users(ctx context.Context) iter.Seq2[User, error] { panic("TODO") }

// MergeCustomData merges data into the user's custom data at the top level and returns the whole of what is then
// stored. It cannot remove a key: null is stored as null.
func (c *Client) MergeCustomData(ctx context.Context, id string, data map[string]any) (map[string]any, error) {
	panic("TODO")
}

// ReplaceCustomData replaces all of the user's custom data, which is the only way to remove a key.
func (c *Client) ReplaceCustomData(ctx context.Context, id string, data map[string]any) (map[string]any, error) {
	panic("TODO")
}

// ManagementResource is the resource indicator of the Management API of the tenant at endpoint:
// https://{tenant-id}.logto.app/api on Logto Cloud, https://default.logto.app/api on a self-hosted server.
func ManagementResource(endpoint string) string { panic("TODO") }
