package logto

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// AppSecret is one of a machine-to-machine app's secrets. It prints without its value, by every verb of fmt, by log/slog
// and by encoding/json.
type AppSecret struct {
	// Name is unique within the app. The first secret of an app that was made in the console is called "Default secret".
	Name string
	// Value is the secret itself, which OAuth calls client_secret.
	Value     string
	CreatedAt time.Time // by Logto's clock
	ExpiresAt time.Time // zero: never
}

// String returns the name and when the secret was made.
func (s AppSecret) String() string {
	return fmt.Sprintf("secret %q of %s", s.Name, s.CreatedAt.Format(time.RFC3339))
}

// Format implements fmt.Formatter: every verb prints what String returns.
func (s AppSecret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue implements slog.LogValuer without the value.
func (s AppSecret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON leaves the value out.
func (s AppSecret) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"name": s.Name, "createdAt": s.CreatedAt})
}

// appSecretJSON is a secret as the Management API shows it (recorded: secrets-list).
type appSecretJSON struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	CreatedAt int64  `json:"createdAt"` // milliseconds
	ExpiresAt *int64 `json:"expiresAt"` // milliseconds; null: never
}

func (s appSecretJSON) secret() AppSecret {
	made := AppSecret{Name: s.Name, Value: s.Value, CreatedAt: time.UnixMilli(s.CreatedAt).UTC()}
	if s.ExpiresAt != nil {
		made.ExpiresAt = time.UnixMilli(*s.ExpiresAt).UTC()
	}
	return made
}

// AppSecrets lists all secrets of an app, those made elsewhere included, with their values. An unknown app is ErrNotFound.
func (c *Client) AppSecrets(ctx context.Context, appID string) ([]AppSecret, error) {
	path, err := appPath(appID, "/secrets")
	if err != nil {
		return nil, fmt.Errorf("listing an app's secrets: %w", err)
	}
	var list []appSecretJSON
	if _, err := c.do(ctx, http.MethodGet, path, nil, nil, &list); err != nil {
		return nil, fmt.Errorf("listing an app's secrets: %w", err)
	}
	secrets := make([]AppSecret, len(list))
	for i, s := range list {
		secrets[i] = s.secret()
	}
	return secrets, nil
}

// CreateAppSecret gives an app one more secret, which never expires. The others stay valid. A name that is taken is
// ErrExists, also where an earlier attempt of the same request took it: see AppSecrets then. A name has 1 to 256 characters.
func (c *Client) CreateAppSecret(ctx context.Context, appID, name string) (AppSecret, error) {
	path, err := appPath(appID, "/secrets")
	if err != nil {
		return AppSecret{}, fmt.Errorf("making an app secret: %w", err)
	}
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return AppSecret{}, fmt.Errorf("making an app secret: %w", err)
	}
	var made appSecretJSON
	if _, err := c.do(ctx, http.MethodPost, path, nil, body, &made); err != nil {
		return AppSecret{}, fmt.Errorf("making an app secret: %w", err)
	}
	return made.secret(), nil
}

// DeleteAppSecret deletes a secret of an app at once. Tokens that were got with it stay valid until they expire. A secret that
// is not there is ErrNotFound.
func (c *Client) DeleteAppSecret(ctx context.Context, appID, name string) error {
	path, err := appPath(appID, "/secrets/")
	if err != nil {
		return fmt.Errorf("deleting an app secret: %w", err)
	}
	part, err := pathPart("a secret's name", name)
	if err != nil {
		return fmt.Errorf("deleting an app secret: %w", err)
	}
	if _, err := c.do(ctx, http.MethodDelete, path+part, nil, nil, nil); err != nil {
		return fmt.Errorf("deleting an app secret: %w", err)
	}
	return nil
}

// SecretUse is a token request that named its secret.
type SecretUse struct {
	At     time.Time // by Logto's clock
	Secret string    // the secret's name
}

// SecretUses iterates over an app's token requests in Logto's audit log, newest first, a page of 100 a request: which
// secret was used when. Requests with a secret that the app does not have are left out. An entry may come twice, as those
// that are logged meanwhile shift the pages. How far back the log reaches depends on the tenant's plan. An error ends it.
func (c *Client) SecretUses(ctx context.Context, appID string) iter.Seq2[SecretUse, error] {
	return func(yield func(SecretUse, error) bool) {
		for page := 1; ; page++ {
			entries, err := c.exchanges(ctx, appID, page)
			if err != nil {
				yield(SecretUse{}, fmt.Errorf("reading the audit log: %w", err))
				return
			}
			for _, e := range entries {
				name := e.Payload.ApplicationSecret.Name
				if name != "" && !yield(SecretUse{time.UnixMilli(e.CreatedAt).UTC(), name}, nil) {
					return
				}
			}
			if len(entries) < pageSize {
				return
			}
		}
	}
}

// exchange is an entry of the audit log (recorded: logs-client-credentials).
type exchange struct {
	CreatedAt int64 `json:"createdAt"` // milliseconds
	Payload   struct {
		ApplicationSecret struct {
			Name string `json:"name"`
		} `json:"applicationSecret"`
	} `json:"payload"`
}

func (c *Client) exchanges(ctx context.Context, appID string, page int) ([]exchange, error) {
	var entries []exchange
	_, err := c.do(ctx, http.MethodGet, "/logs", url.Values{
		"applicationId": {appID}, "logKey": {"ExchangeTokenBy.ClientCredentials"},
		"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(pageSize)},
	}, nil, &entries)
	return entries, err
}

// appPath is the path of an app.
func appPath(id, suffix string) (string, error) {
	part, err := pathPart("an app id", id)
	return "/applications/" + part + suffix, err
}
