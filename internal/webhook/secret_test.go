package webhook

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func TestTheSecretInSecretsManager(t *testing.T) {
	const key = "logtotestSecretAbCdEfGhIjKlMnOpQ"
	tests := map[string]struct {
		status     int
		body, want string // what the error says; empty: none
	}{
		"filled":        {200, fmt.Sprintf(`{"SecretString":%q}`, `{"signingKey":"`+key+`","hookId":"h"}`), ""},
		"a placeholder": {200, fmt.Sprintf(`{"SecretString":%q}`, `{"signingKey":"fill-in"}`), "signing secret shop/signing-key: \"signingKey\" has fewer"},
		"binary":        {200, `{"SecretBinary":"AAAA"}`, "is binary"},
		"not there":     {400, `{"__type":"ResourceNotFoundException","message":"no"}`, "there is none of this name"},
		"not allowed":   {400, `{"__type":"AccessDeniedException","message":"no"}`, "needs secretsmanager:GetSecretValue"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}))
			t.Cleanup(server.Close)
			secret, err := managedSecret("shop/signing-key", func(context.Context) (SecretsManager, error) {
				return secretsmanager.New(secretsmanager.Options{
					BaseEndpoint: &server.URL, Region: "eu-central-1", HTTPClient: server.Client(), RetryMaxAttempts: 1,
					Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
				}), nil
			})(t.Context())
			switch {
			case test.want == "" && (err != nil || secret != Secret{key, "h"}):
				t.Errorf("%v %v", secret, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
