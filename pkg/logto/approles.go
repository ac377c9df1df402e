package logto

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// AppScopes are the scopes that an app's roles contain, by the resource indicator of their API. An unknown app is
// ErrNotFound. Scopes that it has as a member of an organization are not among them.
func (c *Client) AppScopes(ctx context.Context, appID string) (map[string][]string, error) {
	roles, err := c.appRoles(ctx, appID)
	if err != nil {
		return nil, fmt.Errorf("reading an app's roles: %w", err)
	}
	scopes := map[string][]string{}
	for _, role := range roles {
		part, err := pathPart("a role id", role)
		if err != nil {
			return nil, fmt.Errorf("reading an app's roles: %w", err)
		}
		var list []struct {
			Name     string `json:"name"`
			Resource struct {
				Indicator string `json:"indicator"`
			} `json:"resource"`
		}
		if _, err := c.do(ctx, http.MethodGet, "/roles/"+part+"/scopes", nil, nil, &list); err != nil {
			return nil, fmt.Errorf("reading a role's scopes: %w", err)
		}
		for _, s := range list {
			if api := s.Resource.Indicator; !slices.Contains(scopes[api], s.Name) {
				scopes[api] = append(scopes[api], s.Name)
			}
		}
	}
	return scopes, nil
}

// appRoles lists the ids of an app's roles.
func (c *Client) appRoles(ctx context.Context, appID string) ([]string, error) {
	path, err := appPath(appID, "/roles")
	if err != nil {
		return nil, err
	}
	var ids []string
	for page := 1; ; page++ {
		var list []struct {
			ID string `json:"id"`
		}
		query := url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(pageSize)}}
		if _, err := c.do(ctx, http.MethodGet, path, query, nil, &list); err != nil {
			return nil, err
		}
		for _, role := range list {
			ids = append(ids, role.ID)
		}
		if len(list) < pageSize {
			return ids, nil
		}
	}
}

// LongestTokenLifetime is how long an access token of this tenant lives at most: the longest of its API resources' (in the
// console: API resources > an API > Token expiration time).
func (c *Client) LongestTokenLifetime(ctx context.Context) (time.Duration, error) {
	var list []struct {
		AccessTokenTTL float64 `json:"accessTokenTtl"` // seconds
	}
	// Without a page number Logto lists them all (recorded: resources).
	if _, err := c.do(ctx, http.MethodGet, "/resources", nil, nil, &list); err != nil {
		return 0, fmt.Errorf("reading the lifetime of tokens: %w", err)
	}
	var longest time.Duration
	for _, r := range list {
		longest = max(longest, time.Duration(r.AccessTokenTTL*float64(time.Second)))
	}
	return longest, nil
}
