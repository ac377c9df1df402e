package logto

import (
	"context"
	"fmt"
	"net/http"
)

// MergeCustomData merges data into the user's custom data at the top level and returns the whole of what is then
// stored. It cannot remove a key: null is stored as null. What CheckCustomData refuses is not sent; an unknown user is
// ErrNotFound. The request may be repeated.
func (c *Client) MergeCustomData(ctx context.Context, id string, data map[string]any) (map[string]any, error) {
	var stored map[string]any
	if err := c.patch(ctx, id, "/custom-data", data, &stored); err != nil {
		return nil, fmt.Errorf("merging custom data: %w", err)
	}
	return stored, nil
}

// ReplaceCustomData replaces all of the user's custom data, which is the only way to remove a key, and returns what is then
// stored. Whatever somebody else wrote since the data was read is lost: Logto ignores If-Match (recorded:
// user-patch-if-match-stale). Nil data is an empty object.
func (c *Client) ReplaceCustomData(ctx context.Context, id string, data map[string]any) (map[string]any, error) {
	if data == nil {
		data = map[string]any{}
	}
	var user userJSON
	if err := c.patch(ctx, id, "", data, &user); err != nil {
		return nil, fmt.Errorf("replacing custom data: %w", err)
	}
	return user.CustomData, nil
}

func (c *Client) patch(ctx context.Context, id, suffix string, data map[string]any, out any) error {
	path, err := userPath(id, suffix)
	if err != nil {
		return err
	}
	body, err := encode(data)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPatch, path, nil, body, out)
	return err
}
