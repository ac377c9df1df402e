//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// A run costs at most three requests, and one for each checkpoint.
func TestRequestsToDynamoDBOfARun(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "requests")
	store, counter := countedStore(t, newUser(t, "requests", storePolicy("requests", storeFunctionActions)), "requests")
	const claim, write, read = "TransactWriteItems", "UpdateItem", "GetItem"
	ended := errors.New("ended")
	var end error
	job := jobs.Job[struct {
		N int `json:"n"`
	}]{
		Name: "job",
		Run: func(ctx context.Context, run *jobs.Run[struct {
			N int `json:"n"`
		}]) error {
			for at := range run.Params.N {
				if err := run.Checkpoint(ctx, run.Attempt*100+at); err != nil {
					return err
				}
			}
			return end
		},
	}
	var continuation []byte
	config := jobs.Config{Stack: "stack", Store: store, Log: io.Discard, Continue: func(_ context.Context, c jobs.Continuation) (err error) {
		continuation, err = json.Marshal(c)
		return err
	}}
	schedule := func(time string) string {
		return `{"m2mjobs":{"schedule":"nightly","time":"` + time + `","params":{"n":2}}}`
	}
	event := `{"id":"6a7e8feb","detail-type":"Happened","source":"test","time":"2026-11-24T03:00:00Z","detail":{"n":1}}`
	batch := `{"Records":[{"messageId":"1","receiptHandle":"r","body":"{\"n\":2}","attributes":{},"messageAttributes":{},` +
		`"md5OfBody":"","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:rows","awsRegion":"us-east-1"}]}`
	handler := jobs.Handler(job, config)
	for _, step := range []struct {
		name    string
		payload func() string
		end     error
		want    []string
	}{
		{"a schedule's first slot", func() string { return schedule("2026-11-24T03:00:00Z") }, nil, []string{claim, write, write, claim}},
		{"its next", func() string { return schedule("2026-11-25T03:00:00Z") }, nil, []string{claim, write, write, claim}},
		{"the same again", func() string { return schedule("2026-11-25T03:00:00Z") }, nil, []string{claim}},
		{"an event", func() string { return event }, ended, []string{claim, write, write}},
		{"its retry", func() string { return event }, nil, []string{claim, claim, write, write}},
		{"one that is unfinished", func() string { return schedule("2026-11-26T03:00:00Z") }, jobs.ErrUnfinished, []string{claim, write, write, claim}},
		{"its continuation", func() string { return string(continuation) }, jobs.ErrUnfinished, []string{read, claim, write, write, claim}},
		{"and the next", func() string { return string(continuation) }, nil, []string{read, claim, write, write, claim}},
		{"a run by hand", func() string { return `{"n":0}` }, nil, []string{claim, write}},
		{"the same again, which runs anew", func() string { return `{"n":0}` }, nil, []string{claim, claim, write}},
	} {
		end = step.end
		if _, err := handler.Invoke(t.Context(), []byte(step.payload())); err != nil && !errors.Is(err, step.end) {
			t.Fatalf("%s: %v", step.name, err)
		}
		got := counter.take()
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	end = nil

	t.Run("a queue's batch", func(t *testing.T) {
		if _, err := handler.Invoke(t.Context(), []byte(batch)); err != nil {
			t.Fatal(err)
		}
		counter.take()
		for range 3 {
			if _, err := handler.Invoke(t.Context(), []byte(batch)); err != nil {
				t.Fatal(err)
			}
		}
		if got := counter.take(); len(got) > 0 {
			t.Errorf("requests %v, want none", got)
		}
	})
}

func TestWaitingSlotCostsItsGroupOneLook(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "waiting")
	store, counter := countedStore(t, newUser(t, "waiting", storePolicy("waiting", storeFunctionActions)), "waiting")
	claim := func(slot string) (jobs.Record, error) {
		c := storeClaim(slot, slot)
		c.Group, c.Overlap = "stack/job/nightly", jobs.OverlapQueue
		return store.Claim(t.Context(), c)
	}
	first, err := claim("1")
	if err != nil {
		t.Fatal(err)
	}
	counter.take()
	if second, err := claim("2"); err != nil || second.State != jobs.Waiting {
		t.Errorf("the second slot is %s, %v", second.State, err)
	}
	if got := counter.take(); len(got) != 2 {
		t.Errorf("to wait took %v", got)
	}
	if third, err := claim("3"); !errors.Is(err, jobs.ErrOverlap) || third.Slot != first.Slot || third.RunID != first.RunID {
		t.Errorf("the third slot meets %s, %v", third.Slot, err)
	}
	if got := counter.take(); len(got) != 1 {
		t.Errorf("to be refused took %v", got)
	}
	if _, err := store.Next(t.Context(), "stack/job/nightly"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("the next, while the first runs: %v", err)
	}
	if err := store.Finish(t.Context(), first, jobs.Done, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	next, err := store.Next(t.Context(), "stack/job/nightly")
	if err != nil || next.Slot != "stack/job/2" || string(next.Trigger) != `{"by":"2"}` {
		t.Errorf("the next is %s with %s, %v", next.Slot, next.Trigger, err)
	}
	if _, err := store.Next(t.Context(), "stack/job/nightly"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("the next, given out twice: %v", err)
	}
	if second, err := claim("2"); err != nil || second.State != jobs.Running || second.Attempt != 1 {
		t.Errorf("the second slot is %s, attempt %d, %v", second.State, second.Attempt, err)
	}
}

func TestAnAnswerThatIsLostLosesNoLease(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "answers")
	key := newUser(t, "answers", storePolicy("answers", storeFunctionActions))
	store, lossy := lossyStore(t, key, "answers")
	for _, group := range []string{"", "stack/job/nightly"} {
		c := storeClaim("of-group-"+group, "a")
		c.Group = group
		lossy.loseNext()
		r, err := store.Claim(t.Context(), c)
		if err != nil || r.Attempt != 1 {
			t.Fatalf("claimed as attempt %d, %v", r.Attempt, err)
		}
		lossy.loseNext()
		if err := store.Checkpoint(t.Context(), r, []byte(`{"at":1}`)); err != nil {
			t.Error(err)
		}
		lossy.loseNext()
		if err := store.Finish(t.Context(), r, jobs.Done, []byte(`{"n":1}`)); err != nil {
			t.Error(err)
		}
		if n := lossy.left(); n != 0 {
			t.Errorf("%d answers were not lost", n)
		}
	}
}

func TestAClaimIsTriedAgainWhenTransactionsCollide(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "collide")
	store, lossy := lossyStore(t, newUser(t, "collide", storePolicy("collide", storeFunctionActions)), "collide")
	// As DynamoDB answers when another transaction holds the first item (API reference, TransactWriteItems, "Errors").
	// MiniStack never does.
	lossy.answerNext(400, `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",`+
		`"Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict, None, None]",`+
		`"CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"},{"Code":"None"},{"Code":"None"}]}`)
	r, err := store.Claim(t.Context(), storeClaim("slot", "a"))
	if err != nil {
		t.Fatal(err)
	}
	lossy.answerNext(400, `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}`)
	if err := store.Checkpoint(t.Context(), r, []byte(`{"at":1}`)); err != nil {
		t.Error(err)
	}
}

func TestLargePayloadsAreCompressedAndTooLargeOnesRefused(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "large")
	store, counter := countedStore(t, newUser(t, "large", storePolicy("large", storeFunctionActions)), "large")
	rows := func(n int) json.RawMessage {
		var b bytes.Buffer
		b.WriteString(`{"rows":["`)
		for i := range n {
			b.WriteString(`{\"primaryEmail\":\"customer-`)
			b.WriteString(time.Unix(int64(i)*7919, 0).UTC().Format("20060102150405"))
			b.WriteString(`@example.com\"}`)
		}
		b.WriteString(`"]}`)
		return b.Bytes()
	}
	c := storeClaim("large", "a")
	c.Trigger = rows(18_000) // about 1 MB, the most that an asynchronous invocation carries
	r, err := store.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, report := rows(5000), rows(4000)
	if err := store.Checkpoint(t.Context(), r, checkpoint); err != nil {
		t.Error(err)
	}
	if err := store.Finish(t.Context(), r, jobs.Unfinished, report); err != nil {
		t.Error(err)
	}
	kept, err := store.Get(t.Context(), c.Slot)
	if err != nil || !bytes.Equal(kept.Trigger, c.Trigger) || !bytes.Equal(kept.Checkpoint, checkpoint) || !bytes.Equal(kept.Report, report) {
		t.Errorf("what was stored is not what comes back: %d, %d and %d bytes, %v", len(kept.Trigger), len(kept.Checkpoint), len(kept.Report), err)
	}

	next, err := store.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	noise := noiseJSON(400 << 10)
	counter.take()
	for what, err := range map[string]error{
		"checkpoint": store.Checkpoint(t.Context(), next, noise),
		"report":     store.Finish(t.Context(), next, jobs.Done, noise),
	} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte("the "+what+" of slot")) {
			t.Errorf("%s of 400 KB that cannot be compressed: %v", what, err)
		}
	}
	c = storeClaim("larger", "a")
	c.Trigger = noise
	if _, err := store.Claim(t.Context(), c); err == nil || !bytes.Contains([]byte(err.Error()), []byte("put the rows into a file")) {
		t.Errorf("a trigger of 400 KB that cannot be compressed: %v", err)
	}
	if got := counter.take(); len(got) > 0 {
		t.Errorf("refusing took the requests %v", got)
	}
	if err := store.Finish(t.Context(), next, jobs.Failed, []byte(`{}`)); err != nil {
		t.Errorf("the run cannot be ended any more: %v", err)
	}
}

func TestRunsAreListedAndFoundAlsoOnceTheirSlotHasANewerOne(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "listed")
	store, _ := countedStore(t, newUser(t, "listed", storePolicy("listed", storeOperatorActions)), "listed")
	now := time.Now()
	store.Now = func() time.Time { return now }
	var want []string
	for i := range 130 { // more than one request reads
		now = now.Add(time.Second)
		c := storeClaim("slot", time.Duration(i).String())
		c.Rerun, c.Until = true, now.Add(time.Minute)
		r, err := store.Claim(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Finish(t.Context(), r, jobs.Done, []byte(`"`+r.RunID+`"`)); err != nil {
			t.Fatal(err)
		}
		want = append(want, r.RunID)
	}
	slices.Reverse(want)
	runs, err := store.Runs(t.Context(), "job", 125)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		got = append(got, r.RunID)
		if string(r.Report) != `"`+r.RunID+`"` {
			t.Errorf("run %s has the report %s", r.RunID, r.Report)
		}
	}
	if diff := cmp.Diff(want[:125], got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	for _, id := range []string{want[0], want[129]} {
		if r, err := store.Find(t.Context(), id); err != nil || r.RunID != id || string(r.Report) != `"`+id+`"` {
			t.Errorf("found %s with %s, %v", r.RunID, r.Report, err)
		}
	}
	if _, err := store.Find(t.Context(), "none"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("finding a run that is not there: %v", err)
	}
}
