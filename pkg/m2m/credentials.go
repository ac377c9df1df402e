package m2m

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
)

// Credentials are what an application proves itself with at its tenant.
//
// They print as endpoint and app id: the secret is left out by every verb of fmt, by log/slog and by encoding/json.
type Credentials struct {
	// Endpoint is the tenant's address, scheme and host, without a trailing slash: https://{tenant-id}.logto.app on
	// Logto Cloud (never a custom domain: its tokens carry another issuer than the Management API accepts).
	Endpoint string
	// AppID is the id of the machine-to-machine app, which OAuth calls client_id.
	AppID string
	// AppSecret is one of the app's secrets, which OAuth calls client_secret. See NewSecret.
	AppSecret Secret
}

// String returns endpoint and app id.
func (c Credentials) String() string { return fmt.Sprintf("app %s at %s", c.AppID, c.Endpoint) }

// Format implements fmt.Formatter: every verb prints what String returns.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// LogValue implements slog.LogValuer without the secret.
func (c Credentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("endpoint", c.Endpoint), slog.String("appId", c.AppID))
}

// Equal tells whether both are the same.
func (c Credentials) Equal(other Credentials) bool {
	return c.Endpoint == other.Endpoint && c.AppID == other.AppID && c.AppSecret.Equal(other.AppSecret)
}

// MarshalJSON leaves the secret out: credentials are read from JSON, never written to it.
func (c Credentials) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"endpoint": c.Endpoint, "appId": c.AppID})
}

// check names the first field that is missing or wrong, never what stands in a secret.
func (c Credentials) check() error {
	switch {
	case c.Endpoint == "":
		return errors.New(`"endpoint" is missing: the tenant's address, such as https://{tenant-id}.logto.app`)
	case c.AppID == "":
		return errors.New(`"appId" is missing: the id of the machine-to-machine app`)
	case c.AppSecret.IsZero():
		return errors.New(`"appSecret" is missing: a secret of the machine-to-machine app`)
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New(`"endpoint" is not an address of the form https://{tenant-id}.logto.app`)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf(`"endpoint" has a path: give scheme and host alone, %s://%s`, u.Scheme, u.Host)
	}
	return checkSecure(u)
}

// checkSecure refuses to send a secret or a token in the clear to another machine.
func checkSecure(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s://%s: only https is safe for a secret (http is taken for loopback addresses alone)", u.Scheme, u.Host)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CredentialsProvider reads credentials from where they are kept. Every call reads them anew: a Source remembers
// what it read and asks again only when the tenant refuses it. A provider must give up when ctx ends.
type CredentialsProvider interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// StaticCredentials provides credentials that are at hand already, for tests and local use.
func StaticCredentials(c Credentials) CredentialsProvider {
	return static(c)
}

type static Credentials

func (s static) Credentials(context.Context) (Credentials, error) { return Credentials(s), nil }

// FileCredentials provides the credentials in a JSON file of the form {"endpoint","appId","appSecret"}. A file that
// others than its owner can read is refused, with the chmod that mends it.
func FileCredentials(path string) CredentialsProvider { return file(path) }

type file string

func (f file) Credentials(context.Context) (Credentials, error) {
	path := string(f)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Credentials{}, fmt.Errorf(`credentials file %s does not exist: write {"endpoint","appId","appSecret"} there, readable by you alone (chmod 600)`, path)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials file: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return Credentials{}, fmt.Errorf("credentials file %s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return Credentials{}, fmt.Errorf("credentials file %s can be read or written by others (mode %04o): chmod 600 it, and replace the secret if that was so for long", path, perm)
	}
	opened, err := os.Open(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials file: %w", err)
	}
	defer opened.Close()
	data, err := readLimited(opened, maxSecret)
	defer clear(data)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials file %s: %w", path, err)
	}
	c, err := ParseCredentials(data)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials file %s: %w", path, err)
	}
	return c, nil
}

// maxSecret is the size limit of a secret in Secrets Manager (AWS Secrets Manager quotas).
const maxSecret = 64 << 10

// ParseCredentials reads {"endpoint","appId","appSecret"}, the form of the secret in a file and in Secrets Manager.
// Other fields are left to others. Its errors name the field that is wrong and never what stands in it.
func ParseCredentials(data []byte) (Credentials, error) {
	var fields struct {
		Endpoint  *string `json:"endpoint"`
		AppID     *string `json:"appId"`
		AppSecret *string `json:"appSecret"`
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		// The decoder's own message may quote the secret.
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			return Credentials{}, fmt.Errorf("%q is not a string", wrong.Field)
		}
		return Credentials{}, errors.New(`not a JSON object of the form {"endpoint","appId","appSecret"}`)
	}
	value := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	c := Credentials{
		Endpoint:  strings.TrimRight(strings.TrimSpace(value(fields.Endpoint)), "/"),
		AppID:     strings.TrimSpace(value(fields.AppID)),
		AppSecret: NewSecret(value(fields.AppSecret)),
	}
	return c, c.check()
}
