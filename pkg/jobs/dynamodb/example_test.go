package dynamodb_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
)

func newClient(ctx context.Context) (dynamodb.Client, error) {
	c, err := config.LoadDefaultConfig(ctx)
	return sdk.NewFromConfig(c), err
}

// A function's main: the store is all that differs from a job that runs in memory.
func Example() {
	job := jobs.Job[struct{}]{
		Name: "daily-orders",
		Run:  func(context.Context, *jobs.Run[struct{}]) error { return nil },
	}
	jobs.Start(job, jobs.Config{Stack: "shop", Store: dynamodb.New("shop-runs", newClient)})
}

// An operator's look at a job's last runs.
func ExampleStore_Runs() {
	store := dynamodb.New("shop-runs", newClient)
	runs, err := store.Runs(context.Background(), "daily-orders", 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range runs {
		fmt.Println(r.Started, r.State, r.RunID, r.Slot)
	}
}
