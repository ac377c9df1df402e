package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
)

// Secret is what the function knows of the webhook: {"signingKey","hookId"}. It prints without the key.
type Secret struct {
	SigningKey string // what Logto signs with, shown in its console at the webhook
	HookID     string // the webhook's id, for Repair alone; may be empty
}

// String returns the webhook's id.
func (s Secret) String() string { return fmt.Sprintf("webhook %q", s.HookID) }

// Format implements fmt.Formatter: every verb prints what String returns.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue implements slog.LogValuer without the key.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON leaves the key out.
func (s Secret) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"hookId": s.HookID})
}

const secretForm = `{"signingKey": "...", "hookId": "..."}, both from the webhook's page in Logto's console` // #nosec G101 -- a form

// maxSecret is the size limit of a secret in Secrets Manager (AWS Secrets Manager quotas).
const maxSecret = 64 << 10

// shortestKey keeps what stands in the template until somebody fills the secret, and is known to everybody, from being
// taken for a key. Logto's have 32 characters (recorded: webhook-user-created).
const shortestKey = 16

// parseSecret reads the secret's JSON. Its errors don't quote it, as the decoder's own might.
func parseSecret(data []byte) (Secret, error) {
	var fields struct {
		SigningKey string `json:"signingKey"`
		HookID     string `json:"hookId"`
	}
	if json.Unmarshal(data, &fields) != nil {
		return Secret{}, errors.New("not a JSON object of the form " + secretForm)
	}
	if fields.SigningKey == "" {
		return Secret{}, errors.New(`"signingKey" is missing: store ` + secretForm)
	}
	if len(fields.SigningKey) < shortestKey {
		return Secret{}, fmt.Errorf(`"signingKey" has fewer than %d characters, as a placeholder has: store `+secretForm, shortestKey)
	}
	return Secret{SigningKey: fields.SigningKey, HookID: fields.HookID}, nil
}

// fileSecret reads the secret from a file, which nobody but its owner may read.
func fileSecret(path string) func(context.Context) (Secret, error) {
	return func(context.Context) (secret Secret, err error) {
		file, err := os.Open(path)
		if err != nil {
			return Secret{}, fmt.Errorf("signing secret: %w: write %s there", err, secretForm)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		info, err := file.Stat()
		if err != nil {
			return Secret{}, fmt.Errorf("signing secret: %w", err)
		}
		if perm := info.Mode().Perm(); perm&0o077 != 0 {
			return Secret{}, fmt.Errorf("signing secret %s can be read or written by others (mode %04o): chmod 600 it", path, perm)
		}
		data, err := io.ReadAll(io.LimitReader(file, maxSecret))
		if err != nil {
			return Secret{}, fmt.Errorf("signing secret: %w", err)
		}
		if secret, err = parseSecret(data); err != nil {
			return Secret{}, fmt.Errorf("signing secret %s: %w", path, err)
		}
		return secret, nil
	}
}

// SecretsManager is the one call that is made of it: *secretsmanager.Client has it.
type SecretsManager interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// managedSecret reads the secret with the given name or ARN.
func managedSecret(id string, connect func(context.Context) (SecretsManager, error)) func(context.Context) (Secret, error) {
	return func(ctx context.Context) (Secret, error) {
		client, err := connect(ctx)
		if err != nil {
			return Secret{}, fmt.Errorf("signing secret %s: AWS configuration: %w", id, err)
		}
		out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
		if err != nil {
			return Secret{}, fmt.Errorf("signing secret %s: %s%w", id, mend(err), err)
		}
		if out.SecretString == nil {
			return Secret{}, fmt.Errorf("signing secret %s is binary: store as its secret string %s", id, secretForm)
		}
		secret, err := parseSecret([]byte(*out.SecretString))
		if err != nil {
			return Secret{}, fmt.Errorf("signing secret %s: %w", id, err)
		}
		return secret, nil
	}
}

// mend says what to do about the errors that a new deployment meets.
func mend(err error) string {
	if errors.As(err, new(*types.ResourceNotFoundException)) {
		return "there is none of this name in this account and region, or it has no value yet: "
	}
	if api := smithy.APIError(nil); errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException" {
		return "the function's role needs secretsmanager:GetSecretValue on it: "
	}
	return ""
}

// rereadAfter is how long a key is kept before a signature that does not fit it makes it be read again.
const rereadAfter = time.Minute

// readTimeout bounds the reading of the secret with the SDK's own retries. With putTimeout it stays below the 10 seconds
// that Logto waits.
const readTimeout = 4 * time.Second

// keeper keeps the secret that was read.
type keeper struct {
	read func(context.Context) (Secret, error)
	now  func() time.Time

	mu     sync.Mutex
	secret Secret
	tried  time.Time // zero: never
}

// current returns the secret, and reads it if there is none.
func (k *keeper) current(ctx context.Context) (Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.secret.SigningKey != "" {
		return k.secret, nil
	}
	return k.readNow(ctx)
}

// other returns another secret than the given one, which did not fit: what another delivery has read meanwhile, or what
// is read now, unless that was tried less than a minute ago. The same one: there is no other.
func (k *keeper) other(ctx context.Context, than Secret) (Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// Without their monotonic reading times are compared by the wall clock, which a freeze does not stop.
	if k.secret != than || k.now().Round(0).Sub(k.tried) < rereadAfter {
		return k.secret, nil
	}
	return k.readNow(ctx)
}

// readNow reads the secret. The caller holds k.mu. If it can't be read, the one there was stays.
func (k *keeper) readNow(ctx context.Context) (Secret, error) {
	k.tried = k.now().Round(0)
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	secret, err := k.read(ctx)
	if err != nil {
		return k.secret, err
	}
	k.secret = secret
	return secret, nil
}
