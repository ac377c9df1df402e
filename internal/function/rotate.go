package function

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	secrets "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// rotateVariables are what rotate-secret reads.
type rotateVariables struct {
	Secret   secret          // the app that has access to the Management API
	Secrets  []string        `env:"SECRETS,required,notEmpty"`
	Resource string          `env:"LOGTO_RESOURCE"`
	Budget   governor.Budget `env:"LOGTO_BUDGET"`
	Warm     time.Duration   `env:"LONGEST_WARM"`
}

func (v *rotateVariables) secret() secret { return v.Secret }
func (v *rotateVariables) state() state   { return state{} }

// NewRotateSecret builds the handler of functions/rotate-secret: the steps of a rotation that Secrets Manager calls, and the
// daily job. Its error is a *ConfigError.
func NewRotateSecret(environment Environment) (lambda.Handler, error) {
	return newRotateSecret(environment, os.Stderr)
}

func newRotateSecret(environment Environment, log io.Writer) (lambda.Handler, error) {
	v, err := load[rotateVariables](rotation.Name, environment)
	if err != nil {
		return nil, err
	}
	aws := &lazyAWS{}
	access, err := v.access(aws)
	if err != nil {
		return nil, &ConfigError{rotation.Name, []string{err.Error()}}
	}
	of := v.rotations(aws, access, slog.New(slog.NewJSONHandler(log, nil)))
	config := access.jobsConfig(environment, rotation.Name, nil, "")
	config.Keep, config.Log = nil, log // it has no rows that could be rejected
	config.Doctor = examine(v.doctor(aws, of), environment)
	return rotation.Handler(of, jobs.Handler(rotation.Job(of, v.Secrets), config)), nil
}

func (v *rotateVariables) access(aws *lazyAWS) (*access, error) {
	return newAccess(v.Secret, aws, management(v.Resource), ManagementAccess(), v.Budget, "")
}

// rotations makes the rotation of a secret in Secrets Manager, by its name or ARN.
func (v *rotateVariables) rotations(aws *lazyAWS, a *access, log *slog.Logger) func(secretID string) *rotation.Rotation {
	return func(secretID string) *rotation.Rotation {
		return rotation.New(rotation.Config{
			Place:       rotation.SecretsManager(secretID, aws.rotation),
			Logto:       a.logto,
			Resource:    v.Resource,
			HTTPClient:  a.tokens(),
			LongestWarm: v.Warm,
			Log:         log,
		})
	}
}

// management asks for a token of the Management API.
func management(resource string) m2m.Config {
	return m2m.Config{Resource: resource, ResourceOf: logto.ManagementResource, Scopes: []string{logto.ManagementScope}}
}

// logto is the Management API of the tenant that these credentials are for, which must be the one that there is access to.
func (a *access) logto(ctx context.Context, of m2m.Credentials) (*logto.Client, error) {
	endpoint, err := a.source.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	if of.Endpoint != endpoint {
		return nil, &rotation.CredentialsError{Err: fmt.Errorf("the secret to rotate is for the tenant %s, and the one that gives access for %s: "+
			"fill in what is a placeholder still, or rotate the other tenant's with access of its own", of.Endpoint, endpoint)}
	}
	return logto.NewClient(logto.Config{Endpoint: endpoint, HTTPClient: a.client})
}

// tokens is a client to the tenant's token endpoint, within its budget.
func (a *access) tokens() *http.Client { return &http.Client{Transport: a.governor} }

func (l *lazyAWS) rotation(ctx context.Context) (rotation.SecretsManagerClient, error) {
	c, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	return secrets.NewFromConfig(c), nil
}

// RotationConfig says how NewRotation rotates.
type RotationConfig struct {
	// AccessFile or AccessID is the secret of an app with the Management API's scope all. Both empty: the secret that is
	// rotated.
	AccessFile, AccessID string
	LongestWarm          time.Duration
	Log                  *slog.Logger
}

// NewRotation builds the rotation of the one secret that the environment names, for the command. Its error is a
// *ConfigError.
func NewRotation(environment Environment, c RotationConfig) (*rotation.Rotation, error) {
	const name = "rotate"
	v, err := load[rotationVariables](name, environment)
	if err == nil && c.AccessFile != "" && c.AccessID != "" {
		err = errors.New("the access is a file or a secret in AWS, not both")
	}
	if err != nil {
		return nil, asConfigError(name, err)
	}
	aws := &lazyAWS{}
	by := secret{ID: c.AccessID, File: c.AccessFile}
	if by == (secret{}) {
		by = v.Secret
	}
	access, err := newAccess(by, aws, management(v.Resource), ManagementAccess(), v.Budget, "")
	if err != nil {
		return nil, asConfigError(name, err)
	}
	place := rotation.SecretsManager(v.Secret.ID, aws.rotation)
	if v.Secret.File != "" {
		place = rotation.File(v.Secret.File)
	}
	return rotation.New(rotation.Config{
		Place: place, Logto: access.logto, Resource: v.Resource, HTTPClient: access.tokens(), LongestWarm: c.LongestWarm, Log: c.Log,
	}), nil
}

// rotationVariables are what the command reads.
type rotationVariables struct {
	Secret   secret
	Resource string          `env:"LOGTO_RESOURCE"`
	Budget   governor.Budget `env:"LOGTO_BUDGET"`
}

func (v *rotationVariables) secret() secret { return v.Secret }
func (v *rotationVariables) state() state   { return state{} }

// asConfigError makes a *ConfigError of an error that is none.
func asConfigError(name string, err error) error {
	if errors.As(err, new(*ConfigError)) {
		return err
	}
	return &ConfigError{name, []string{err.Error()}}
}
