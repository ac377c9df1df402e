package stepfunctions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Client is what is asked of Step Functions: *sfn.Client has it.
type Client interface {
	StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error)
}

// Continue returns a function for jobs.Config.Continue that starts the state machine with that ARN, for each run once. Its
// errors name the state machine and what to do. newClient is called at the first use and, if it fails, again at the next:
// a run that ends in time pays nothing for the SDK.
func Continue(newClient func(context.Context) (Client, error), stateMachineARN string) func(context.Context, jobs.Continuation) error {
	s := &starter{newClient: newClient, arn: stateMachineARN}
	return s.start
}

type starter struct {
	newClient func(context.Context) (Client, error)
	arn       string

	mu     sync.Mutex
	client Client
}

// mostExecutions is how many executions one run may have had, started by people again and again.
const mostExecutions = 20

func (s *starter) start(ctx context.Context, c jobs.Continuation) error {
	client, err := s.connect(ctx)
	if err != nil {
		return s.failed(err)
	}
	input, err := json.Marshal(c)
	if err != nil {
		return s.failed(err)
	}
	for n := 1; n <= mostExecutions; n++ {
		name := c.RunID
		if n > 1 {
			name = fmt.Sprintf("%s-%d", c.RunID, n)
		}
		_, err := client.StartExecution(ctx, &sfn.StartExecutionInput{
			StateMachineArn: &s.arn, Name: &name, Input: aws.String(string(input)),
		})
		if err == nil {
			return nil
		}
		if !errors.As(err, new(*types.ExecutionAlreadyExists)) {
			return s.failed(err)
		}
		// AWS answers so only if the execution is over, or its input reads otherwise; MiniStack always.
		running, err := s.running(ctx, client, name)
		if err != nil {
			return s.failed(err)
		}
		if running {
			return nil
		}
	}
	return s.failed(fmt.Errorf("run %s has had %d executions and is not over: see what each ended with", c.RunID, mostExecutions))
}

// running tells whether the execution of that name is under way.
func (s *starter) running(ctx context.Context, client Client, name string) (bool, error) {
	execution := strings.Replace(s.arn, ":stateMachine:", ":execution:", 1) + ":" + name
	out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &execution})
	if err != nil {
		return false, err
	}
	return out.Status == types.ExecutionStatusRunning || out.Status == types.ExecutionStatusPendingRedrive, nil
}

func (s *starter) connect(ctx context.Context) (Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		client, err := s.newClient(ctx)
		if err != nil {
			return nil, fmt.Errorf("AWS configuration: %w", err)
		}
		s.client = client
	}
	return s.client, nil
}

func (s *starter) failed(err error) error {
	return fmt.Errorf("state machine %s: %s%w", s.arn, mend(err), err)
}

// mend says what to do about the errors that a new deployment meets.
func mend(err error) string {
	if errors.As(err, new(*types.StateMachineDoesNotExist)) {
		return "there is none of this ARN (from CONTINUE_STATE_MACHINE): "
	}
	if api := smithy.APIError(nil); errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException" {
		action := regexp.MustCompile(`states:[A-Za-z]+`).FindString(api.ErrorMessage())
		return "the function's role needs " + action + " on it or on its executions: "
	}
	return ""
}
