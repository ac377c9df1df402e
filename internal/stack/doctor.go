package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	firing "github.com/m2mjobs/m2mjobs/internal/schedule"
)

// Environment is a job's variables as they are deployed.
func (s *Stack) Environment(ctx context.Context, job string) (map[string]string, error) {
	function, err := s.Function(job)
	if err != nil {
		return nil, err
	}
	out, err := lambda.NewFromConfig(s.Config).GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", function, err)
	}
	if out.Environment == nil {
		return nil, nil
	}
	return out.Environment.Variables, nil
}

// Checks are what only the stack knows of a job: what starts it, what it gave up, and how old the secrets are that its
// variables name.
func (s *Stack) Checks(job string, variables map[string]string) []doctor.Check {
	checks := []doctor.Check{
		{Name: "pause", What: "the job is not paused", Do: func(ctx context.Context) doctor.Finding { return s.checkPause(ctx, job) }},
		{Name: "schedule", What: "its schedule is on, and will fire", Do: func(ctx context.Context) doctor.Finding { return s.checkSchedule(ctx, job, time.Now()) }},
		{Name: "queues", What: "nothing lies in the queues of what failed", Do: func(ctx context.Context) doctor.Finding { return s.checkQueues(ctx, job) }},
	}
	for _, variable := range []string{"M2M_SECRET_ID", "SIGNING_SECRET_ID"} {
		if id := variables[variable]; id != "" {
			name := map[string]string{"M2M_SECRET_ID": "secret age", "SIGNING_SECRET_ID": "signing key age"}[variable]
			checks = append(checks, doctor.Check{Name: name, What: "the secret in " + variable + " is not old", Do: func(ctx context.Context) doctor.Finding {
				return s.checkAge(ctx, id)
			}})
		}
	}
	return checks
}

// notSeen is what to do if AWS did not answer.
const notSeen = "see that these credentials may look at it: `aws sts get-caller-identity` says whose they are"

func (s *Stack) checkPause(ctx context.Context, job string) doctor.Finding {
	paused, err := s.Store().Paused(ctx, job)
	switch {
	case err != nil:
		return doctor.Failed(notSeen, "%v", err)
	case paused:
		return doctor.Failed(fmt.Sprintf("`m2mjobs resume %s --stack %s`", job, s.Name), "it is paused: no run begins")
	}
	return doctor.Found("it is not")
}

func (s *Stack) checkSchedule(ctx context.Context, job string, now time.Time) doctor.Finding {
	function, err := s.Function(job)
	if err != nil {
		return doctor.Failed(notSeen, "%v", err)
	}
	client := scheduler.NewFromConfig(s.Config)
	var found []doctor.Finding
	for _, id := range s.Resources("AWS::Scheduler::Schedule") {
		out, err := client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &id})
		if gone := (*schedulertypes.ResourceNotFoundException)(nil); errors.As(err, &gone) {
			// Whose it was, its name tells: the template names it.
			if id == function {
				found = append(found, doctor.Failed("deploy again, with another value of its parameters and then the right one, so that CloudFormation makes it anew: `make deploy`",
					"schedule %s was deleted by hand", id))
			}
			continue
		}
		if err != nil {
			return doctor.Failed(notSeen, "schedule %s: %v", id, err)
		}
		if out.Target != nil && startsFunction(out.Target, function) {
			found = append(found, s.checkOne(ctx, job, out, now))
		}
	}
	if len(found) == 0 {
		return doctor.Nothing("no schedule of the stack starts it")
	}
	return slices.MaxFunc(found, func(a, b doctor.Finding) int { return cmp.Compare(severity(a), severity(b)) })
}

// severity puts the worst last.
func severity(f doctor.Finding) int {
	return slices.Index([]doctor.Result{doctor.OK, doctor.Warn, doctor.Fail}, f.Result)
}

func (s *Stack) checkOne(ctx context.Context, job string, out *scheduler.GetScheduleOutput, now time.Time) doctor.Finding {
	name, expression, zone := *out.Name, aws.ToString(out.ScheduleExpression), aws.ToString(out.ScheduleExpressionTimezone)
	if out.State == schedulertypes.ScheduleStateDisabled {
		return s.checkDisabled(ctx, job, name)
	}
	if _, err := scheduleOf(out); err != nil {
		return doctor.Failed("deploy again, which puts the Input right: `make deploy`", "%v", err)
	}
	next, err := nextTime(expression, zone, aws.ToTime(out.CreationDate), now)
	where := cmp.Or(zone, "UTC")
	switch {
	case err != nil:
		return doctor.Failed("correct the schedule's expression and deploy again: `make deploy PARAMETERS='DailyOrdersSchedule=cron(15 3 * * ? *)'`", "%v", err)
	case next.IsZero():
		return doctor.Failed("correct the schedule's expression and deploy again: `make deploy PARAMETERS='DailyOrdersSchedule=cron(15 3 * * ? *)'`",
			"schedule %s, %s in %s, will not fire in the next year", name, expression, where)
	}
	return doctor.Found("schedule %s is on, %s in %s: next at %s", name, expression, where, next.UTC().Format(time.RFC3339))
}

// checkDisabled tells a schedule that is off on purpose, because other things start the job, from one without which nothing does.
func (s *Stack) checkDisabled(ctx context.Context, job, name string) doctor.Finding {
	if job == "rotate-secret" { // off until the secrets are filled
		return doctor.Warning("once all secrets are filled, deploy with a number of days: `make deploy PARAMETERS='RotationDays=30'`",
			"schedule %s is off: secrets are replaced by hand alone", name)
	}
	mend := "deploy with the parameter that switches it on (ScheduleState or RepairState): `make deploy PARAMETERS='ScheduleState=ENABLED'`"
	function := s.Name + "-" + job
	_, err := lambda.NewFromConfig(s.Config).GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &function})
	if err == nil {
		return doctor.Warning(mend, "schedule %s is off: the function is called at its URL alone", name)
	}
	if !errors.As(err, new(*lambdatypes.ResourceNotFoundException)) {
		return doctor.Failed(notSeen, "function %s: %v", function, err)
	}
	return doctor.Failed(mend, "schedule %s is off: the job does not start by itself", name)
}

// nextTime is when a schedule fires next, within a year; zero: not then. A rate counts from when it was made.
func nextTime(expression, zone string, made, now time.Time) (time.Time, error) {
	if strings.HasPrefix(strings.TrimSpace(expression), "rate(") {
		return nextRate(expression, zone, made, now)
	}
	const day = 24 * time.Hour
	for _, far := range []time.Duration{day, 32 * day, 367 * day} {
		times, err := firing.Times(expression, zone, now, now.Add(far))
		if err != nil || len(times) > 0 {
			return append(times, time.Time{})[0], err
		}
	}
	return time.Time{}, nil
}

// nextRate counts on from when the schedule was made. schedule.Times counts back from a time of the rate, so it is asked for its interval.
func nextRate(expression, zone string, made, now time.Time) (time.Time, error) {
	const window = 367 * 24 * time.Hour
	for _, far := range []time.Duration{2 * time.Hour, 2 * 24 * time.Hour, window} {
		times, err := firing.Times(expression, zone, now.Add(-far), now)
		if err != nil {
			return time.Time{}, err
		}
		if len(times) == 0 {
			continue
		}
		interval := now.Sub(times[len(times)-1])
		passed := max(0, now.Sub(made))
		return made.Add((passed/interval + 1) * interval), nil
	}
	return time.Time{}, nil
}

func (s *Stack) checkQueues(ctx context.Context, job string) doctor.Finding {
	queues, err := s.DeadLetterQueues(ctx, job)
	if err != nil {
		return doctor.Failed(notSeen, "%v", err)
	}
	if len(queues) == 0 {
		return doctor.Nothing("it has none")
	}
	client := sqs.NewFromConfig(s.Config)
	var empty, full []string
	for _, q := range queues {
		n, err := messages(ctx, client, q.url)
		if err != nil {
			return doctor.Failed(notSeen, "queue %s: %v", q.Name, err)
		}
		if empty = append(empty, q.Name); n > 0 {
			full = append(full, fmt.Sprintf("%d in %s", n, q.Name))
		}
	}
	if len(full) > 0 {
		return doctor.Failed(fmt.Sprintf("see why with `m2mjobs runs redrive %[1]s --stack %[2]s --dry-run`, mend that, then send it again with the same without --dry-run", job, s.Name),
			"given up after all attempts: %s", strings.Join(full, ", "))
	}
	return doctor.Found("%s: empty", strings.Join(empty, ", "))
}

// messages is how many messages a queue has, those that somebody looks at included. It is an approximate number.
func messages(ctx context.Context, client *sqs.Client, url string) (int, error) {
	counted := []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible}
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: counted})
	if err != nil {
		return 0, err
	}
	total := 0
	for _, name := range counted {
		n, err := strconv.Atoi(out.Attributes[string(name)])
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += n
	}
	return total, nil
}

// checkAge looks when the version of a secret was made that is read now. The value itself is not asked for.
func (s *Stack) checkAge(ctx context.Context, id string) doctor.Finding {
	out, err := secretsmanager.NewFromConfig(s.Config).ListSecretVersionIds(ctx, &secretsmanager.ListSecretVersionIdsInput{SecretId: &id})
	if err != nil {
		return doctor.Failed(notSeen+", and needs secretsmanager:ListSecretVersionIds", "secret %s: %v", id, err)
	}
	for _, version := range out.Versions {
		if slices.Contains(version.VersionStages, "AWSCURRENT") {
			return doctor.Age(aws.ToTime(version.CreatedDate), time.Now(),
				"Console > Applications > the app > App secrets: make a new one, `aws secretsmanager put-secret-value --secret-id "+id+" --secret-string file://FILE`, then delete the old one")
		}
	}
	return doctor.Failed("put one there: `aws secretsmanager put-secret-value --secret-id "+id+" --secret-string file://FILE`", "secret %s has no value", id)
}

// Ask has the function examine itself. The error says what to do.
func (s *Stack) Ask(ctx context.Context, job string) (doctor.Report, error) {
	function, err := s.Function(job)
	if err != nil {
		return doctor.Report{}, err
	}
	out, err := lambda.NewFromConfig(s.Config).Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: []byte(`{"doctor": true}`)})
	if err != nil {
		return doctor.Report{}, fmt.Errorf("invoking %s: %w", function, err)
	}
	var answer struct {
		doctor.Report
		ErrorMessage string `json:"errorMessage"`
	}
	err = json.Unmarshal(out.Payload, &answer)
	switch {
	case out.FunctionError != nil:
		return doctor.Report{}, fmt.Errorf("%s did not start, or failed: %s", function, answer.ErrorMessage)
	case err != nil || answer.Function == "":
		return doctor.Report{}, fmt.Errorf("%s did not answer {\"doctor\": true}: it was deployed from an older version", function)
	}
	return answer.Report, nil
}
