package function

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	db "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	secrets "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/stepfunctions"
	tokens "github.com/m2mjobs/m2mjobs/pkg/m2m/dynamodb"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/secretsmanager"
)

// lazyAWS makes AWS clients when the first is needed: loading the SDK's configuration takes longer than a warm
// invocation.
type lazyAWS struct {
	mu     sync.Mutex
	config *aws.Config
}

func (l *lazyAWS) load(ctx context.Context) (aws.Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.config == nil {
		loaded, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return aws.Config{}, err
		}
		if loaded.Region == "" {
			return aws.Config{}, errors.New("no region: set AWS_REGION, or AWS_PROFILE to a profile that has one")
		}
		l.config = &loaded
	}
	return *l.config, nil
}

func (l *lazyAWS) secretsManager(ctx context.Context) (secretsmanager.Client, error) {
	c, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	return secrets.NewFromConfig(c), nil
}

func (l *lazyAWS) s3(ctx context.Context) (files.S3, error) {
	c, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(c), nil
}

func (l *lazyAWS) dynamoDB(ctx context.Context) (dynamodb.Client, error) {
	c, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	return db.NewFromConfig(c), nil
}

func (l *lazyAWS) tokenTable(ctx context.Context) (tokens.Client, error) { return l.dynamoDB(ctx) }

func (l *lazyAWS) stepFunctions(ctx context.Context) (stepfunctions.Client, error) {
	c, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	return sfn.NewFromConfig(c), nil
}

// keepState gives the framework the store and the state machine that the variables name, if they do.
func (l *lazyAWS) keepState(c *jobs.Config, s state) {
	if s.Table != "" {
		c.Store = dynamodb.New(s.Table, l.dynamoDB)
	}
	if s.Machine != "" {
		c.Continue = stepfunctions.Continue(l.stepFunctions, s.Machine)
	}
}
