package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// MaxSlots is how many slots an execution of the backfill's state machine may have: what it ends with has its input and a result
// for each, and may have 256 KB.
const MaxSlots = 1000

// MaxConcurrency is how many batches run at a time at most: as many as an account's functions unless it has asked for more.
const MaxConcurrency = 1000

// MaxBatch is how many slots an invocation is given at most: their reports together may have 256 KB.
const MaxBatch = 25

// maxInput is how many bytes an execution may begin with (Step Functions' quota).
const maxInput = 256 * 1024

// Backfill is what the state machine {stack}-backfill does.
type Backfill struct {
	Job         string               `json:"job"`
	Concurrency int                  `json:"concurrency"` // batches at a time, at most MaxConcurrency
	Batch       int                  `json:"batch"`       // slots an invocation, at most MaxBatch
	Slots       []jobs.ScheduleInput `json:"slots"`       // at most MaxSlots
}

// SlotResult is what became of a slot.
type SlotResult struct {
	Time     time.Time    `json:"time"`
	Outcome  jobs.Outcome `json:"outcome"`
	Rejected int64        `json:"rejected"` // rows that were not used
	Error    string       `json:"error"`    // the error's name; the reason is in the run's report
}

// Execution is one that was started.
type Execution struct {
	ARN string
	// Console is where to look at it in the browser.
	Console string
}

// StartBackfill starts the state machine that runs the slots.
func (s *Stack) StartBackfill(ctx context.Context, name string, b Backfill) (Execution, error) {
	machine, err := s.backfillMachine()
	if err != nil {
		return Execution{}, err
	}
	input, err := json.Marshal(b)
	if err != nil {
		return Execution{}, err
	}
	if len(b.Slots) > MaxSlots || len(input) > maxInput {
		return Execution{}, fmt.Errorf("%d slots of together %d bytes: an execution takes %d slots and %d bytes; do a shorter range, and then the rest",
			len(b.Slots), len(input), MaxSlots, maxInput)
	}
	out, err := sfn.NewFromConfig(s.Config).StartExecution(ctx, &sfn.StartExecutionInput{
		StateMachineArn: &machine, Name: &name, Input: aws.String(string(input)),
	})
	if err != nil {
		return Execution{}, fmt.Errorf("starting state machine %s: %w", machine, err)
	}
	region := s.Config.Region
	return Execution{*out.ExecutionArn, fmt.Sprintf("https://%[1]s.console.aws.amazon.com/states/home?region=%[1]s#/v2/executions/details/%[2]s",
		region, *out.ExecutionArn)}, nil
}

func (s *Stack) backfillMachine() (string, error) {
	for _, machine := range s.Resources("AWS::StepFunctions::StateMachine") {
		if strings.HasSuffix(machine, ":"+s.Name+"-backfill") {
			return machine, nil
		}
	}
	return "", fmt.Errorf("stack %q has no state machine %s-backfill: it was deployed from an older template; deploy it again", s.Name, s.Name)
}

// looks is how often WaitBackfill asks at most and at least.
const (
	looksFirst = time.Second
	looksLater = 10 * time.Second
)

// WaitBackfill waits until an execution has ended, and returns what became of its slots. look is called from time to time
// while it runs. Once ctx has ended it returns ctx's error; the execution goes on.
func (s *Stack) WaitBackfill(ctx context.Context, e Execution, look func()) ([]SlotResult, error) {
	client := sfn.NewFromConfig(s.Config)
	for pause := looksFirst; ; pause = min(2*pause, looksLater) {
		out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &e.ARN})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("looking at execution %s: %w", e.ARN, err)
		case out.Status != types.ExecutionStatusRunning:
			return s.results(ctx, client, out)
		}
		look()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// results reads what the last state was given. An execution that failed has no output, but a history.
func (s *Stack) results(ctx context.Context, client *sfn.Client, e *sfn.DescribeExecutionOutput) ([]SlotResult, error) {
	history, err := client.GetExecutionHistory(ctx, &sfn.GetExecutionHistoryInput{
		ExecutionArn: e.ExecutionArn, ReverseOrder: true, MaxResults: 10, IncludeExecutionData: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("reading what became of execution %s: %w", *e.ExecutionArn, err)
	}
	for _, event := range history.Events {
		entered := event.StateEnteredEventDetails
		if entered == nil || aws.ToString(entered.Name) != "AllDone" && aws.ToString(entered.Name) != "NotAllDone" {
			continue
		}
		var last struct{ Results []SlotResult }
		if err := json.Unmarshal([]byte(aws.ToString(entered.Input)), &last); err != nil {
			return nil, fmt.Errorf("execution %s: its results: %w", *e.ExecutionArn, err)
		}
		return last.Results, nil
	}
	return nil, fmt.Errorf("execution %s ended as %s: %s %s; what is done is not done again, so start it again once the cause is mended",
		*e.ExecutionArn, e.Status, aws.ToString(e.Error), aws.ToString(e.Cause))
}

// Became is what the store has of a slot: whether it is done, and if not, why, by its newest run's report; empty if there is none.
func (s *Stack) Became(ctx context.Context, slot string) (done bool, reason string, err error) {
	record, err := s.Store().Get(ctx, slot)
	if errors.Is(err, jobs.ErrNotFound) {
		return false, "", nil
	}
	if err != nil || record.State == jobs.Done || len(record.Report) == 0 {
		return record.State == jobs.Done, "", err
	}
	var report jobs.Report
	if err := json.Unmarshal(record.Report, &report); err != nil {
		return false, "", fmt.Errorf("the report of run %s cannot be read: %w", record.RunID, err)
	}
	return false, report.Error, nil
}
