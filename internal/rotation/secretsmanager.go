package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
)

// SecretsManagerClient is what is called of Secrets Manager: *secretsmanager.Client has it.
type SecretsManagerClient interface {
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error)
}

// SecretsManager is the secret with that name or ARN in AWS Secrets Manager. connect is called at the first use.
//
// It needs secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and UpdateSecretVersionStage on the secret, and
// kms:Decrypt and kms:GenerateDataKey if it is encrypted with a key of your own.
func SecretsManager(id string, connect func(context.Context) (SecretsManagerClient, error)) Place {
	return &managed{id: id, connect: connect}
}

type managed struct {
	id      string
	connect func(context.Context) (SecretsManagerClient, error)
}

// fault names the secret, and what the caller lacks.
func (m *managed) fault(doing string, err error) error {
	mend := ""
	operation := (*smithy.OperationError)(nil)
	if api := smithy.APIError(nil); errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException" && errors.As(err, &operation) {
		mend = " (the role needs secretsmanager:" + operation.OperationName + " on it)"
	}
	return fmt.Errorf("secret %s: %s%s: %w", m.id, doing, mend, err)
}

// State implements Place.
func (m *managed) State(ctx context.Context) (State, error) {
	client, err := m.connect(ctx)
	if err != nil {
		return State{}, m.fault("AWS configuration", err)
	}
	out, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &m.id})
	if err != nil {
		return State{}, m.fault("looking at its versions", err)
	}
	s := State{Name: aws.ToString(out.Name), ID: aws.ToString(out.ARN), Changed: later(out.LastChangedDate, out.CreatedDate)}
	for id, labels := range out.VersionIdsToStages {
		s.Versions = append(s.Versions, Version{ID: id, Labels: slices.Sorted(slices.Values(labels))})
	}
	slices.SortFunc(s.Versions, func(a, b Version) int { return strings.Compare(a.ID, b.ID) })
	return s, nil
}

// later is the later of two times that may not be there.
func later(a, b *time.Time) time.Time {
	if aws.ToTime(a).After(aws.ToTime(b)) {
		return aws.ToTime(a)
	}
	return aws.ToTime(b)
}

// Read implements Place.
func (m *managed) Read(ctx context.Context, version string) ([]byte, error) {
	client, err := m.connect(ctx)
	if err != nil {
		return nil, m.fault("AWS configuration", err)
	}
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &m.id, VersionId: &version})
	switch {
	case errors.As(err, new(*types.ResourceNotFoundException)), err == nil && out.SecretString == nil && out.SecretBinary == nil:
		return nil, ErrNoValue
	case err != nil:
		return nil, m.fault("reading version "+version, err)
	case out.SecretString == nil:
		return nil, m.fault("reading version "+version, errors.New(`it is binary: store the JSON text {"endpoint","appId","appSecret"} as its secret string`))
	}
	return []byte(*out.SecretString), nil
}

// Put implements Place. The version's id makes it safe to repeat (Secrets Manager, PutSecretValue, ClientRequestToken).
func (m *managed) Put(ctx context.Context, version string, text []byte) error {
	client, err := m.connect(ctx)
	if err != nil {
		return m.fault("AWS configuration", err)
	}
	_, err = client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &m.id, ClientRequestToken: &version, SecretString: aws.String(string(text)), VersionStages: []string{Pending},
	})
	if err != nil {
		return m.fault("putting version "+version, err)
	}
	return nil
}

// Promote implements Place.
func (m *managed) Promote(ctx context.Context, version, from string) error {
	return m.move(ctx, "making version "+version+" current", &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &m.id, VersionStage: aws.String(Current), MoveToVersionId: &version, RemoveFromVersionId: &from,
	})
}

// Settle implements Place.
func (m *managed) Settle(ctx context.Context, version string) error {
	s, err := m.State(ctx)
	if err != nil || s.labelled(Pending) != version {
		return err
	}
	return m.move(ctx, "ending the rotation", &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &m.id, VersionStage: aws.String(Pending), RemoveFromVersionId: &version,
	})
}

func (m *managed) move(ctx context.Context, doing string, in *secretsmanager.UpdateSecretVersionStageInput) error {
	client, err := m.connect(ctx)
	if err != nil {
		return m.fault("AWS configuration", err)
	}
	if _, err := client.UpdateSecretVersionStage(ctx, in); err != nil {
		return m.fault(doing, err)
	}
	return nil
}
