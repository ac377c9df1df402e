package m2m

import (
	"context"
)

// Credentials are what an application proves itself with at its tenant.
//
// They print as the app id alone: the secret is left out by every verb of fmt, by log/slog and by encoding/json.
type Credentials struct {
	// Endpoint is the tenant's address, scheme and host, without a trailing slash: https://{tenant-id}.logto.app on
	// Logto Cloud (never a custom domain: its tokens carry another issuer than the Management API accepts).
	Endpoint string
	// AppID is the id of the machine-to-machine app, which OAuth calls client_id.
	AppID string
	// AppSecret is one of the app's secrets, which OAuth calls client_secret.
	AppSecret string
}

// CredentialsProvider reads credentials from where they are kept. Every call reads them anew: a Source remembers
// what it read and asks again only when the tenant refuses it.
type CredentialsProvider interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// StaticCredentials provides credentials that are at hand already, for tests and local use.
func StaticCredentials(c Credentials) CredentialsProvider { panic("TODO") }

// FileCredentials provides the credentials in a JSON file of the form {"endpoint","appId","appSecret"}. A file that
// others than its owner can read is refused, with the chmod that mends it.
func FileCredentials(path string) CredentialsProvider { panic("TODO") }

// ParseCredentials reads {"endpoint","appId","appSecret"}, the form of the secret in a file and in Secrets Manager.
// Its errors name the field that is wrong and never what stands in it.
func ParseCredentials(data []byte) (Credentials, error) { panic("TODO") }
