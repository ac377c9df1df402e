//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/secretsmanager"
)

const appSecret = "logtotestSecret0123456789abcdefg"

func provider(t *testing.T, key emulator.Key, id string) m2m.CredentialsProvider {
	config := awsConfig(t, key)
	return secretsmanager.New(id, func(context.Context) (secretsmanager.Client, error) { return sdk.NewFromConfig(config), nil })
}

// readSecret is a policy statement as template.yaml has it for a function's own secret.
func readSecret(name string) string {
	return fmt.Sprintf(`{"Effect":"Allow","Action":"secretsmanager:GetSecretValue",`+
		`"Resource":"arn:aws:secretsmanager:%s:*:secret:%s-*"}`, emulator.Region, name)
}

func TestSecretIsReadByNameAndByARN(t *testing.T) {
	t.Parallel()
	name := "provider/own"
	arn := newSecret(t, name, `{"endpoint":"https://example.com","appId":"app","appSecret":"`+appSecret+`"}`)
	key := newUser(t, "provider-own", readSecret(name))
	for _, id := range []string{name, arn} {
		c, err := provider(t, key, id).Credentials(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.Endpoint != "https://example.com" || c.AppID != "app" || c.AppSecret.Reveal() != appSecret {
			t.Errorf("%s: read %v, and not what was stored", id, c)
		}
	}
}

func TestSecretThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	_, err := provider(t, shared.aws.Root(), "provider/none").Credentials(t.Context())
	if !errors.As(err, new(*types.ResourceNotFoundException)) || !strings.Contains(err.Error(), "provider/none") {
		t.Errorf("got %v, want a ResourceNotFoundException that names the secret", err)
	}
}

func TestSecretOfAnotherFunctionIsDeniedAndNamed(t *testing.T) {
	t.Parallel()
	newSecret(t, "provider/other", `{"endpoint":"https://example.com","appId":"app","appSecret":"`+appSecret+`"}`)
	key := newUser(t, "provider-denied", readSecret("provider/mine"))
	_, err := provider(t, key, "provider/other").Credentials(t.Context())
	api := smithy.APIError(nil)
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Fatalf("got %v, want AccessDeniedException", err)
	}
	for _, part := range []string{"provider/other", "secretsmanager:GetSecretValue"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
}

func TestSecretWithoutAFieldIsNamedWithoutItsValue(t *testing.T) {
	t.Parallel()
	newSecret(t, "provider/incomplete", `{"endpoint":"https://example.com","appSecret":"`+appSecret+`"}`)
	_, err := provider(t, shared.aws.Root(), "provider/incomplete").Credentials(t.Context())
	if err == nil || !strings.Contains(err.Error(), "provider/incomplete") || !strings.Contains(err.Error(), "appId") {
		t.Fatalf("got an error %t, want one that names the secret and appId", err != nil)
	}
	if strings.Contains(err.Error(), appSecret) {
		t.Error("the error has the app secret in it")
	}
}
