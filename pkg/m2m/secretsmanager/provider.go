// Package secretsmanager provides m2m credentials from AWS Secrets Manager.
//
//	provider := secretsmanager.New("my-stack/sync-custom-data", func(ctx context.Context) (secretsmanager.Client, error) {
//		config, err := config.LoadDefaultConfig(ctx)
//		return sdk.NewFromConfig(config), err
//	})
//	source, err := m2m.NewSource(m2m.Config{Credentials: provider, ...})
//
// The secret is a JSON text {"endpoint","appId","appSecret"}. The function needs secretsmanager:GetSecretValue on it,
// and kms:Decrypt if it is encrypted with a key of your own.
package secretsmanager

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Client is the one call that is made: *secretsmanager.Client has it.
type Client interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// New provides the credentials in the secret with the given name or ARN, the version labelled AWSCURRENT. newClient is
// called at the first read, so that a function that needs no token pays nothing for the SDK.
func New(secretID string, newClient func(context.Context) (Client, error)) m2m.CredentialsProvider {
	return &provider{id: secretID, newClient: newClient}
}

type provider struct {
	id        string
	newClient func(context.Context) (Client, error)

	mu     sync.Mutex
	client Client
}

// Credentials implements m2m.CredentialsProvider. Its errors name the secret and what to do.
func (p *provider) Credentials(ctx context.Context) (m2m.Credentials, error) {
	if !isID(p.id) {
		return m2m.Credentials{}, errors.New("the secret's id is neither a name nor an ARN: give where the secret is kept, not the secret itself")
	}
	client, err := p.connect(ctx)
	if err != nil {
		return m2m.Credentials{}, fmt.Errorf("secret %s: AWS configuration: %w", p.id, err)
	}
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &p.id})
	if err != nil {
		return m2m.Credentials{}, fmt.Errorf("secret %s: %s%w", p.id, mend(err), err)
	}
	if out.SecretString == nil {
		return m2m.Credentials{}, fmt.Errorf(`secret %s is binary: store the JSON text {"endpoint","appId","appSecret"} as its secret string`, p.id)
	}
	c, err := m2m.ParseCredentials([]byte(*out.SecretString))
	if err != nil {
		return m2m.Credentials{}, fmt.Errorf("secret %s: %w", p.id, err)
	}
	return c, nil
}

// isID tells whether id is of the form of a secret's name or ARN (AWS Secrets Manager, CreateSecret: letters, digits and
// /_+=.@-). What is not may be the secret itself, and must not get into an error.
func isID(id string) bool {
	return id != "" && len(id) <= 2048 && strings.IndexFunc(id, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("/_+=.@-:", r)
	}) < 0
}

func (p *provider) connect(ctx context.Context) (Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		client, err := p.newClient(ctx)
		if err != nil {
			return nil, err
		}
		p.client = client
	}
	return p.client, nil
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
