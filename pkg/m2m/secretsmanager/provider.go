// Package secretsmanager provides m2m credentials from AWS Secrets Manager.
package secretsmanager

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Client is the one call that is made: *secretsmanager.Client has it.
type Client interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// New provides the credentials in the secret with the given name or ARN. newClient is called at the first read.
func New(newClient func(context.Context) (Client, error), secretID string) m2m.CredentialsProvider {
	panic("TODO")
}
