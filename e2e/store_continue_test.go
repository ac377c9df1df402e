//go:build e2e

package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/stepfunctions"
)

// newMachine makes a state machine, with the role of the deployed one, whose executions run until they are stopped.
func newMachine(t *testing.T, client *sfn.Client, name string) string {
	t.Helper()
	deployed, err := client.DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{
		StateMachineArn: aws.String("arn:aws:states:" + emulator.Region + ":000000000000:stateMachine:" + stackName + "-continue"),
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: &name, RoleArn: deployed.RoleArn,
		Definition: aws.String(`{"StartAt":"Wait","States":{"Wait":{"Type":"Wait","Seconds":3600,"End":true}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.StateMachineArn
}

// continuePolicy is what the comment of package stepfunctions says that a function may do.
func continuePolicy(machine string) string {
	return `{"Effect":"Allow","Action":"states:StartExecution","Resource":"` + machine + `"},` +
		`{"Effect":"Allow","Action":"states:DescribeExecution","Resource":"` + strings.Replace(machine, ":stateMachine:", ":execution:", 1) + `:*"}`
}

func continueBy(t *testing.T, key emulator.Key, machine string) func(context.Context, jobs.Continuation) error {
	config := awsConfig(t, key)
	return stepfunctions.Continue(func(context.Context) (stepfunctions.Client, error) { return sfn.NewFromConfig(config), nil }, machine)
}

func TestARunIsContinuedByOneExecution(t *testing.T) {
	t.Parallel()
	client := sfn.NewFromConfig(awsConfig(t, shared.aws.Root()))
	machine := newMachine(t, client, "continue-once")
	handOn := continueBy(t, newUser(t, "continue-once", continuePolicy(machine)), machine)
	c := jobs.Continuation{Job: "job", Slot: "stack/job/slot", RunID: "20261124T030000Z-abcdefghijkl"}
	executions := func() map[string]string {
		t.Helper()
		list, err := client.ListExecutions(t.Context(), &sfn.ListExecutionsInput{StateMachineArn: &machine})
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string]string{}
		for _, e := range list.Executions {
			out, err := client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: e.ExecutionArn})
			if err != nil {
				t.Fatal(err)
			}
			inputs[*e.Name] = *out.Input
		}
		return inputs
	}
	input := `{"m2mjobs":{"continue":{"job":"job","slot":"stack/job/slot","runId":"20261124T030000Z-abcdefghijkl"}}}`
	want := map[string]string{}
	for _, name := range []string{c.RunID, c.RunID + "-2", c.RunID + "-3"} {
		want[name] = input
		for range 3 { // the later ones as the execution's own rounds do
			if err := handOn(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, executions()); diff != "" {
				t.Fatalf("executions and their inputs (-want +got):\n%s", diff)
			}
		}
		// Somebody stops it. If the run is started again after that it has to be continued again.
		execution := strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + name
		if _, err := client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: &execution}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatKeepsARunFromBeingContinuedIsNamed(t *testing.T) {
	t.Parallel()
	client := sfn.NewFromConfig(awsConfig(t, shared.aws.Root()))
	machine := newMachine(t, client, "continue-denied")
	c := jobs.Continuation{Job: "job", Slot: "stack/job/slot", RunID: "run"}
	tests := map[string]struct {
		err  error
		says []string
	}{
		"denied": {continueBy(t, newUser(t, "continue-denied", readSecret("none")), machine)(t.Context(), c),
			[]string{machine, "the function's role needs states:StartExecution"}},
		"no such machine": {continueBy(t, shared.aws.Root(), machine+"-other")(t.Context(), c),
			[]string{machine + "-other", "CONTINUE_STATE_MACHINE"}},
		"no configuration": {stepfunctions.Continue(func(context.Context) (stepfunctions.Client, error) {
			return nil, errors.New("no region")
		}, machine)(t.Context(), c), []string{machine, "AWS configuration: no region"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, part := range test.says {
				if test.err == nil || !strings.Contains(test.err.Error(), part) {
					t.Errorf("%v does not say %q", test.err, part)
				}
			}
		})
	}
}
