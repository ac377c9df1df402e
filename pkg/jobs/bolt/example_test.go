package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
)

// A run that stopped goes on in the next process.
func Example() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	job := jobs.Job[struct{}]{
		Name: "long",
		Run: func(ctx context.Context, run *jobs.Run[struct{}]) error {
			var page int
			if resumed, err := run.Resume(&page); err != nil || resumed {
				fmt.Println("attempt", run.Attempt, "goes on at page", page)
				return err
			}
			if err := run.Checkpoint(ctx, 7); err != nil {
				return err
			}
			return errors.New("interrupted")
		},
	}
	for range 2 { // two processes, one after the other
		store, err := bolt.Open(filepath.Join(dir, "state.db"))
		if err != nil {
			log.Fatal(err)
		}
		_, err = jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard}).Invoke(context.Background(), []byte(`{}`))
		fmt.Println("failed:", err != nil)
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// failed: true
	// attempt 2 goes on at page 7
	// failed: false
}

// While a job runs, another process looks at its runs and pauses it.
func ExampleAttach() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state.db")
	running, err := bolt.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer running.Close()

	store, err := bolt.Attach(path)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	runs, err := store.Runs(context.Background(), "long", 10)
	fmt.Println(len(runs), err)
	fmt.Println(store.Pause(context.Background(), "long", true))
	fmt.Println(running.Paused(context.Background(), "long"))
	// Output:
	// 0 <nil>
	// <nil>
	// true <nil>
}
