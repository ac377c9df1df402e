package stepfunctions_test

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/stepfunctions"
)

// A function's main whose runs may take longer than an invocation. The store must be one that invocations share, such as
// that of jobs/dynamodb.
func Example() {
	var store jobs.Store
	newClient := func(ctx context.Context) (stepfunctions.Client, error) {
		c, err := config.LoadDefaultConfig(ctx)
		return sfn.NewFromConfig(c), err
	}
	job := jobs.Job[struct{}]{
		Name: "long",
		Run:  func(context.Context, *jobs.Run[struct{}]) error { return nil },
	}
	jobs.Start(job, jobs.Config{
		Stack:    "shop",
		Store:    store,
		Continue: stepfunctions.Continue(newClient, os.Getenv("CONTINUE_STATE_MACHINE")),
	})
}
