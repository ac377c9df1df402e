//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
)

// doctor is what the command finds of a job of the deployed stack: from outside, and from inside the function.
func (o operator) doctor(t *testing.T, job string, code int) (outside, inside map[string]doctor.Line) {
	t.Helper()
	said, got := o.run(t, "doctor", job, "--json")
	if got != code {
		t.Errorf("doctor %s: exit code %d, want %d\n%s", job, got, code, said)
	}
	// The SDK writes a line of its own where the emulator's answer to what is denied has no checksum.
	_, list, _ := strings.Cut(said, "[\n")
	var reports []doctor.Report
	if err := json.Unmarshal([]byte("["+list), &reports); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for i, found := range []*map[string]doctor.Line{&outside, &inside} {
		*found = map[string]doctor.Line{}
		if i >= len(reports) {
			continue
		}
		for _, line := range reports[i].Checks {
			(*found)[line.Check] = line
			if strings.Contains(line.Found+line.Mend, "logtotestSecret") || strings.Contains(line.Found+line.Mend, "eyJ") {
				t.Errorf("%s prints a secret or a token", line.Check)
			}
		}
	}
	return outside, inside
}

// finds fails the test unless a check came to that and says all of these.
func finds(t *testing.T, lines map[string]doctor.Line, check string, result doctor.Result, says ...string) {
	t.Helper()
	line := lines[check]
	if line.Result != result {
		t.Errorf("%s is %q, want %q: %+v", check, line.Result, result, line)
	}
	for _, part := range says {
		if !strings.Contains(line.Found+"\n"+line.Mend, part) {
			t.Errorf("%s does not say %q: %+v", check, part, line)
		}
	}
}

// updateSchedule changes a schedule until the test ends.
func (s *stack) updateSchedule(t *testing.T, name string, change func(*scheduler.UpdateScheduleInput)) {
	t.Helper()
	is := s.schedule(t, name)
	put := func(ctx context.Context, change func(*scheduler.UpdateScheduleInput)) {
		in := &scheduler.UpdateScheduleInput{
			Name: is.Name, GroupName: is.GroupName, State: is.State, Description: is.Description, ScheduleExpression: is.ScheduleExpression,
			ScheduleExpressionTimezone: is.ScheduleExpressionTimezone, FlexibleTimeWindow: is.FlexibleTimeWindow, Target: is.Target,
		}
		change(in)
		if _, err := s.scheduler.UpdateSchedule(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { put(context.Background(), func(*scheduler.UpdateScheduleInput) {}) })
	put(t.Context(), change)
}

func on(in *scheduler.UpdateScheduleInput) { in.State = types.ScheduleStateEnabled }

// withVariables changes a function's variables until the test ends. An empty one is taken away.
func (s *stack) withVariables(t *testing.T, job string, change map[string]string) {
	t.Helper()
	is, err := s.lambda.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: s.name(job)})
	if err != nil {
		t.Fatal(err)
	}
	put := func(ctx context.Context, variables map[string]string) {
		_, err := s.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
			FunctionName: s.name(job), Environment: &lambdatypes.Environment{Variables: variables},
		})
		if err == nil {
			err = lambda.NewFunctionUpdatedV2Waiter(s.lambda, func(o *lambda.FunctionUpdatedV2WaiterOptions) { o.MinDelay = 100 * time.Millisecond }).
				Wait(ctx, &lambda.GetFunctionInput{FunctionName: s.name(job)}, 20*time.Second)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	variables := maps.Clone(is.Environment.Variables)
	for name, value := range change {
		if variables[name] = value; value == "" {
			delete(variables, name)
		}
	}
	t.Cleanup(func() { put(context.Background(), is.Environment.Variables) })
	put(t.Context(), variables)
}

// contents is all that stands in the table and in the bucket.
func (s *stack) contents(t *testing.T) []string {
	t.Helper()
	var all []string
	objects, err := s.s3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(s.outputs["BucketName"])})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range objects.Versions {
		all = append(all, *version.Key+" "+aws.ToString(version.VersionId))
	}
	items, err := dynamodb.NewFromConfig(awsConfig(t, shared.aws.Root())).Scan(t.Context(), &dynamodb.ScanInput{TableName: s.name("runs")})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items.Items {
		data, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	slices.Sort(all)
	return all
}

func TestDeployedDoctorFindsAllWellAndChangesNothing(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.inTimeZone(t)
	s.updateSchedule(t, function.DailyOrders, on)
	hook := s.tenant.AddHook("http://127.0.0.1:1", "User.Deleted")
	if err := s.putSecret(t.Context(), stackName+"/signing-key", map[string]string{"signingKey": hook.SigningKey, "hookId": hook.ID}); err != nil {
		t.Fatal(err)
	}
	before := s.contents(t)
	m2mjobs.must(t, []string{"doctor"},
		"daily-orders, stack e2e, from this machine", "daily-orders, inside e2e-daily-orders",
		"logto-webhook, inside e2e-logto-webhook", "sync-custom-data, inside e2e-sync-custom-data", " 0 failed, 0 not tried")

	outside, inside := m2mjobs.doctor(t, function.DailyOrders, 0)
	finds(t, outside, "configuration", doctor.OK)
	finds(t, outside, "pause", doctor.OK)
	finds(t, outside, "schedule", doctor.OK, "e2e-daily-orders is on, cron(15 3 * * ? *) in Europe/Berlin: next at ", ":15:00Z")
	finds(t, outside, "queues", doctor.OK, "e2e-daily-orders-failed: empty")
	finds(t, outside, "secret age", doctor.OK, "0 days ago")
	finds(t, outside, "function", doctor.OK)
	finds(t, inside, "own API", doctor.OK, "401 without and with a wrong signature")
	finds(t, inside, "store", doctor.OK, "table e2e-runs", "so all three are permitted")
	finds(t, inside, "output", doctor.OK, "(stats/, customers/, rejected/)", "s3:PutObject is permitted")
	finds(t, inside, "secret age", doctor.NotApplicable, "m2mjobs doctor --stack")

	outside, inside = m2mjobs.doctor(t, function.SyncCustomData, 0)
	finds(t, outside, "schedule", doctor.NotApplicable)
	finds(t, outside, "queues", doctor.OK, "e2e-sync-custom-data-failed, e2e-rows-dead: empty")
	for _, check := range []string{"configuration", "secret", "endpoint", "issuer", "clock", "token", "scopes", "management API", "role", "rate", "store", "output"} {
		finds(t, inside, check, doctor.OK)
	}
	outside, inside = m2mjobs.doctor(t, webhook, 0)
	finds(t, outside, "schedule", doctor.Warn, "called at its URL alone", "RepairState")
	finds(t, outside, "signing key age", doctor.OK)
	finds(t, inside, "signing key", doctor.OK, hook.ID)
	finds(t, inside, "management API", doctor.OK)

	outside, inside = m2mjobs.doctor(t, rotation.Name, 0)
	finds(t, outside, "configuration", doctor.OK)
	finds(t, outside, "schedule", doctor.Warn, "RotationDays")
	for _, job := range []string{rotation.Name, function.SyncCustomData} {
		finds(t, inside, rotated(t, inside, job), doctor.OK, "0 days ago")
	}

	if diff := cmp.Diff(before, s.contents(t)); diff != "" {
		t.Errorf("table and bucket (-before +after):\n%s", diff)
	}
	s.nothingFailed(t)

	// Each answers it by hand, too.
	for _, job := range []string{function.DailyOrders, function.SyncCustomData, webhook, rotation.Name} {
		answer, failed := s.invoke(t, job, []byte(`{"doctor": true}`))
		var report doctor.Report
		if err := json.Unmarshal(answer, &report); err != nil || failed != "" || !report.Well || report.Function != job {
			t.Errorf("%s: %v %s %s", job, err, failed, answer)
		}
	}
}

func TestDeployedDoctorSeesWhatKeepsAJobFromStarting(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	for name, test := range map[string]struct {
		change func(*scheduler.UpdateScheduleInput)
		says   []string
	}{
		"off": {func(*scheduler.UpdateScheduleInput) {}, []string{"is off: the job does not start by itself", "ScheduleState=ENABLED"}},
		"of the past": {func(in *scheduler.UpdateScheduleInput) {
			on(in)
			in.ScheduleExpression = aws.String("cron(15 3 * * ? 2020)")
		}, []string{"will not fire in the next year", "DailyOrdersSchedule"}},
		"not read": {func(in *scheduler.UpdateScheduleInput) {
			on(in)
			in.ScheduleExpressionTimezone = aws.String("Mars/Olympus")
		}, []string{"Mars/Olympus", "make deploy"}},
		"of another input": {func(in *scheduler.UpdateScheduleInput) {
			on(in)
			target := *in.Target
			target.Input = aws.String("{}")
			in.Target = &target
		}, []string{"its Input is not", "make deploy"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.updateSchedule(t, function.DailyOrders, test.change)
			outside, _ := m2mjobs.doctor(t, function.DailyOrders, 1)
			finds(t, outside, "schedule", doctor.Fail, test.says...)
		})
	}
	t.Run("gone", func(t *testing.T) {
		is := s.schedule(t, function.DailyOrders)
		t.Cleanup(func() {
			_, err := s.scheduler.CreateSchedule(context.Background(), &scheduler.CreateScheduleInput{
				Name: is.Name, GroupName: is.GroupName, State: is.State, Description: is.Description, ScheduleExpression: is.ScheduleExpression,
				ScheduleExpressionTimezone: is.ScheduleExpressionTimezone, FlexibleTimeWindow: is.FlexibleTimeWindow, Target: is.Target,
			})
			if err != nil {
				t.Error(err)
			}
		})
		if _, err := s.scheduler.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: is.Name, GroupName: is.GroupName}); err != nil {
			t.Fatal(err)
		}
		outside, _ := m2mjobs.doctor(t, function.DailyOrders, 1)
		finds(t, outside, "schedule", doctor.Fail, "e2e-daily-orders was deleted by hand")
	})
	t.Run("paused", func(t *testing.T) {
		m2mjobs.must(t, []string{"pause", function.DailyOrders})
		defer m2mjobs.must(t, []string{"resume", function.DailyOrders})
		outside, _ := m2mjobs.doctor(t, function.DailyOrders, 1)
		finds(t, outside, "pause", doctor.Fail, "m2mjobs resume daily-orders --stack e2e")
	})
	t.Run("a rate", func(t *testing.T) {
		s.updateSchedule(t, "repair", on)
		outside, _ := m2mjobs.doctor(t, webhook, 0)
		finds(t, outside, "schedule", doctor.OK, "e2e-repair is on, rate(15 minutes) in UTC: next at ")
	})
}

func TestDeployedDoctorSeesWhatWasGivenUp(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	_, err := s.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: s.queueURL(t, "rows-dead"), MessageBody: aws.String(`{"rows":[]}`)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.take(t, "rows-dead")
	outside, _ := m2mjobs.doctor(t, function.SyncCustomData, 1)
	finds(t, outside, "queues", doctor.Fail, "1 in e2e-rows-dead", "m2mjobs runs redrive sync-custom-data --stack e2e --dry-run")
	if lies := s.lying(t, "rows-dead"); lies != one {
		t.Errorf("after a look in the queue: %s", lies)
	}
}

func TestDeployedDoctorSeesWrongVariables(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	for name, test := range map[string]struct {
		change          map[string]string
		outside, inside map[string][]string // what fails, and what that says
	}{
		"one is missing": {
			map[string]string{"SHOP_URL": ""},
			map[string][]string{"configuration": {"SHOP_URL is not set", "make deploy"}}, nil,
		},
		"a secret that is not there": {
			map[string]string{"M2M_SECRET_ID": stackName + "/none"},
			map[string][]string{"secret age": {"secret e2e/none"}}, map[string][]string{"secret": {"secret e2e/none"}},
		},
		"a table that is not there": {
			map[string]string{"STATE_TABLE": "none"}, nil, map[string][]string{"store": {"table none", "make deploy"}},
		},
		"a bucket that is not there": {
			map[string]string{"OUTPUT": "s3://none"}, nil, map[string][]string{"output": {"s3://none/stats/doctor.json"}},
		},
		"no shop": {
			map[string]string{"SHOP_URL": "http://127.0.0.1:1"}, nil, map[string][]string{"own API": {"no answer from http://127.0.0.1:1", "SHOP_URL"}},
		},
		"an API that Logto does not know": {
			map[string]string{"SHOP_RESOURCE": "https://none.api"}, nil, map[string][]string{"token": {"no such API resource", "SHOP_RESOURCE"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.withVariables(t, function.DailyOrders, test.change)
			outside, inside := m2mjobs.doctor(t, function.DailyOrders, 1)
			for check, says := range test.outside {
				finds(t, outside, check, doctor.Fail, says...)
			}
			for check, says := range test.inside {
				finds(t, inside, check, doctor.Fail, says...)
			}
		})
	}
	t.Run("a wrong secret", func(t *testing.T) {
		defer s.wrongSecret(t, function.DailyOrders)()
		_, inside := m2mjobs.doctor(t, function.DailyOrders, 1)
		finds(t, inside, "token", doctor.Fail, "401 invalid_client", "put-secret-value --secret-id "+stackName+"/daily-orders")
		finds(t, inside, "own API", doctor.NotTried, "because scopes was not")
		finds(t, inside, "store", doctor.OK)
	})
}

// What a role may not do is told apart from a write that was refused for its condition or its checksum.
func TestDeployedDoctorSeesWhatTheRoleMayNot(t *testing.T) {
	s := shared.stack
	resources, err := shared.aws.Resources(t.Context(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	role := resources[slices.IndexFunc(resources, func(r emulator.Resource) bool { return r.LogicalID == "DailyOrdersRole" })].ID
	whole, err := shared.aws.RolePolicy(t.Context(), role, function.DailyOrders)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, p emulator.Policy) {
		t.Helper()
		if err := shared.aws.SetRolePolicy(ctx, role, function.DailyOrders, p); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(context.Background(), whole) })
	for i, statement := range whole.Statement {
		check := map[string]string{"ReadOwnSecret": "secret", "KeepRuns": "store", "WriteResults": "output"}[statement.Sid]
		if check == "" {
			continue
		}
		for _, action := range statement.Action {
			if action == "dynamodb:GetItem" {
				continue // for shared tokens, without which a run does as well
			}
			for _, resource := range statement.Resource {
				t.Run(action+" "+resource, func(t *testing.T) {
					p := whole
					p.Statement = slices.Clone(whole.Statement)
					rest := statement
					rest.Action = slices.DeleteFunc(slices.Clone(statement.Action), func(a string) bool { return a == action && len(statement.Action) > 1 })
					rest.Resource = slices.DeleteFunc(slices.Clone(statement.Resource), func(r string) bool { return r == resource && len(statement.Resource) > 1 })
					if p.Statement[i] = rest; len(statement.Action)*len(statement.Resource) == 1 {
						p.Statement = slices.Delete(p.Statement, i, i+1)
					}
					set(t.Context(), p)
					answer, failed := s.invoke(t, function.DailyOrders, []byte(`{"doctor": true}`))
					var report doctor.Report
					if err := json.Unmarshal(answer, &report); err != nil || failed != "" || report.Well {
						t.Fatalf("%v %s %s", err, failed, answer)
					}
					found := map[string]doctor.Line{}
					for _, line := range report.Checks {
						found[line.Check] = line
					}
					finds(t, found, check, doctor.Fail, action)
				})
			}
		}
	}
}

func TestDeployedDoctorSaysWhatTheOperatorMayNotLookAt(t *testing.T) {
	m2mjobs := newOperator(t)
	const stack = `{"Effect":"Allow","Action":"cloudformation:ListStackResources","Resource":"*"}`
	m2mjobs.key = newUser(t, "doctor-stack", stack)
	outside, _ := m2mjobs.doctor(t, function.DailyOrders, 1)
	finds(t, outside, "configuration", doctor.Fail, "lambda:GetFunctionConfiguration", "aws sts get-caller-identity")
	finds(t, outside, "pause", doctor.Fail, "dynamodb:")
	finds(t, outside, "schedule", doctor.Fail, "scheduler:GetSchedule")
	finds(t, outside, "queues", doctor.Fail, "lambda:ListEventSourceMappings")
	finds(t, outside, "function", doctor.NotTried, "because configuration failed")

	m2mjobs.key = newUser(t, "doctor-function", stack+`,{"Effect":"Allow","Action":"lambda:GetFunctionConfiguration","Resource":"*"}`)
	outside, _ = m2mjobs.doctor(t, function.DailyOrders, 1)
	finds(t, outside, "secret age", doctor.Fail, "secretsmanager:ListSecretVersionIds")
	finds(t, outside, "function", doctor.Fail, "lambda:InvokeFunction", "sam logs --stack-name e2e")
}

func TestDeployedDoctorTellsWhichPermissionsWereUsed(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.report(t, function.SyncCustomData, fmt.Appendf(nil, `{"rows":[{"primaryEmail":%q,"customData":{"seenBy":"doctor"}}]}`, s.orders[40].CustomerEmail))
	m2mjobs.must(t, []string{"doctor", function.SyncCustomData, "--scopes"},
		"PATCH /api/users/{id}/custom-data", "needs all", "There is no smaller permission than all.", "ReadOwnSecret")
}
