package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
)

// Starter is what starts a job by itself and can be switched off without losing anything: what is missed comes again, or
// waits in its queue.
type Starter struct {
	Kind string // "schedule" or "queue"
	Name string // of the schedule, or of the queue that an event source mapping reads
	id   string // GROUP/NAME of a schedule, the UUID of a mapping
}

const (
	schedule = "schedule"
	queue    = "queue"
)

// Pause pauses a job: claims fail from now on, and the schedules and queues that start its function are switched off, which
// are returned. Only those that are on are touched, and they are noted in the table, so that Resume switches on these and
// no others. Done twice it does no harm; after an error it is to be done again.
//
// Events that still come are refused, and lie in the job's queue of failures after Lambda's retries.
func (s *Stack) Pause(ctx context.Context, job string) ([]Starter, error) {
	function, err := s.Function(job)
	if err != nil {
		return nil, err
	}
	if err := s.Store().Pause(ctx, job, true); err != nil {
		return nil, err
	}
	on, err := s.startersThatAreOn(ctx, function)
	if err != nil {
		return nil, fmt.Errorf("the runs of %s are paused, but not what starts them: %w", job, err)
	}
	if err := s.note(ctx, job, on); err != nil {
		return nil, err
	}
	for i, starter := range on {
		if err := s.turn(ctx, starter, false); err != nil {
			return on[:i], err
		}
	}
	return on, nil
}

// Resume ends a pause, and returns what Pause switched off and is on again. What somebody else switched off, or the
// template's parameters, stays off. Done twice it does no harm; after an error it is to be done again.
func (s *Stack) Resume(ctx context.Context, job string) ([]Starter, error) {
	if _, err := s.Function(job); err != nil {
		return nil, err
	}
	if err := s.Store().Pause(ctx, job, false); err != nil {
		return nil, err
	}
	off, err := s.noted(ctx, job)
	if err != nil {
		return nil, err
	}
	var on []Starter
	for _, starter := range off {
		err := s.turn(ctx, starter, true)
		switch {
		case isGone(err): // a deployment has removed it since
		case err != nil:
			return on, err
		default:
			on = append(on, starter)
		}
	}
	return on, s.forget(ctx, job)
}

// startersThatAreOn are the schedules and queues that start a function now.
func (s *Stack) startersThatAreOn(ctx context.Context, function string) ([]Starter, error) {
	client := lambda.NewFromConfig(s.Config)
	f, err := client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", function, err)
	}
	var on []Starter
	schedules := scheduler.NewListSchedulesPaginator(scheduler.NewFromConfig(s.Config), &scheduler.ListSchedulesInput{})
	for schedules.HasMorePages() {
		page, err := schedules.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the schedules: %w", err)
		}
		for _, one := range page.Schedules {
			if one.State == types.ScheduleStateEnabled && starts(one.Target, *f.FunctionArn) {
				on = append(on, Starter{schedule, *one.Name, *one.GroupName + "/" + *one.Name})
			}
		}
	}
	mappings := lambda.NewListEventSourceMappingsPaginator(client, &lambda.ListEventSourceMappingsInput{FunctionName: &function})
	for mappings.HasMorePages() {
		page, err := mappings.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the queues of function %s: %w", function, err)
		}
		for _, one := range page.EventSourceMappings {
			if !slices.Contains([]string{"Disabled", "Disabling", "Deleting"}, aws.ToString(one.State)) {
				on = append(on, Starter{queue, lastPart(aws.ToString(one.EventSourceArn)), *one.UUID})
			}
		}
	}
	return on, nil
}

// starts tells whether a schedule's target is the function, or a version of it.
func starts(target *types.TargetSummary, function string) bool {
	return target != nil && (*target.Arn == function || strings.HasPrefix(*target.Arn, function+":"))
}

func lastPart(arn string) string { return arn[strings.LastIndex(arn, ":")+1:] }

// turn switches a starter on or off.
func (s *Stack) turn(ctx context.Context, starter Starter, on bool) error {
	var err error
	if starter.Kind == schedule {
		err = s.turnSchedule(ctx, starter.id, on)
	} else {
		_, err = lambda.NewFromConfig(s.Config).UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: &starter.id, Enabled: &on})
	}
	if err == nil {
		return nil
	}
	wait := ""
	if errors.As(err, new(*lambdatypes.ResourceInUseException)) {
		wait = "it is still being switched; give the same command again in a minute: "
	}
	return fmt.Errorf("switching %s %s: %s%w", starter.Kind, starter.Name, wait, err)
}

// turnSchedule changes a schedule's state. An update replaces all of a schedule: what it does not name is lost.
func (s *Stack) turnSchedule(ctx context.Context, id string, on bool) error {
	client := scheduler.NewFromConfig(s.Config)
	group, name, _ := strings.Cut(id, "/")
	is, err := client.GetSchedule(ctx, &scheduler.GetScheduleInput{GroupName: &group, Name: &name})
	if err != nil {
		return err
	}
	state := types.ScheduleStateDisabled
	if on {
		state = types.ScheduleStateEnabled
	}
	_, err = client.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{
		Name: is.Name, GroupName: is.GroupName, State: state, Description: is.Description,
		ScheduleExpression: is.ScheduleExpression, ScheduleExpressionTimezone: is.ScheduleExpressionTimezone,
		StartDate: is.StartDate, EndDate: is.EndDate, FlexibleTimeWindow: is.FlexibleTimeWindow,
		ActionAfterCompletion: is.ActionAfterCompletion, KmsKeyArn: is.KmsKeyArn, Target: is.Target,
	})
	return err
}

// isGone tells whether what was to be switched is not there any more.
func isGone(err error) bool {
	return errors.As(err, new(*types.ResourceNotFoundException)) || errors.As(err, new(*lambdatypes.ResourceNotFoundException))
}
