package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Schedule is what starts a job at its slots.
type Schedule struct {
	Name       string
	Expression string
	TimeZone   string          // empty: UTC
	Params     json.RawMessage // what it gives the job
}

// Slot is the name of a slot of the schedule's.
func (s *Stack) Slot(job string, input jobs.ScheduleInput) string {
	return jobs.ScheduleSlot(s.Name, job, input.Schedule, input.Time)
}

// Schedule finds the schedule that starts a job, by its name if there are several: an empty one is the only one. It may be
// switched off.
func (s *Stack) Schedule(ctx context.Context, job, name string) (Schedule, error) {
	function, err := s.Function(job)
	if err != nil {
		return Schedule{}, err
	}
	client := scheduler.NewFromConfig(s.Config)
	var found []Schedule
	var names []string
	for _, id := range s.Resources("AWS::Scheduler::Schedule") {
		out, err := client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &id})
		if err != nil {
			return Schedule{}, fmt.Errorf("schedule %s: %w", id, err)
		}
		if !startsFunction(out.Target, function) {
			continue
		}
		one, err := scheduleOf(out)
		if err != nil {
			return Schedule{}, err
		}
		if names = append(names, one.Name); name == "" || name == one.Name {
			found = append(found, one)
		}
	}
	switch {
	case len(names) == 0:
		return Schedule{}, fmt.Errorf("stack %q has no schedule that starts %s", s.Name, job)
	case len(found) == 0:
		return Schedule{}, fmt.Errorf("stack %q has no schedule %q that starts %s: it has %s", s.Name, name, job, strings.Join(names, ", "))
	case len(found) > 1:
		return Schedule{}, fmt.Errorf("stack %q has several schedules that start %s: choose one of %s", s.Name, job, strings.Join(names, ", "))
	}
	return found[0], nil
}

// startsFunction tells whether a target is the function of that name, or a version of it.
func startsFunction(target *types.Target, function string) bool {
	arn := aws.ToString(target.Arn)
	return strings.HasSuffix(arn, ":function:"+function) || strings.Contains(arn, ":function:"+function+":")
}

func scheduleOf(out *scheduler.GetScheduleOutput) (Schedule, error) {
	var input struct {
		M2mjobs *struct{ Params json.RawMessage }
	}
	if err := json.Unmarshal([]byte(aws.ToString(out.Target.Input)), &input); err != nil || input.M2mjobs == nil {
		return Schedule{}, fmt.Errorf(`schedule %s: its Input is not {"m2mjobs": …} as template.yaml has it, so it has no slots`, *out.Name)
	}
	return Schedule{*out.Name, *out.ScheduleExpression, aws.ToString(out.ScheduleExpressionTimezone), input.M2mjobs.Params}, nil
}
