package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Runs implements jobs.Store. A run that began less than a second ago may be missing: DynamoDB's indexes follow.
func (s *Store) Runs(ctx context.Context, job string, limit int) ([]jobs.Record, error) {
	doing := fmt.Sprintf("listing the runs of job %q", job)
	keys, err := s.listed(ctx, job, limit)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	var runs []jobs.Record
	for some := range slices.Chunk(keys, readAtOnce) {
		items, err := s.readAll(ctx, some)
		if err != nil {
			return nil, s.failed(doing, err)
		}
		for _, it := range items {
			k, err := decode(it)
			if err != nil {
				return nil, s.failed(doing, err)
			}
			runs = append(runs, k.Record)
		}
	}
	slices.SortFunc(runs, func(a, b jobs.Record) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.RunID, a.RunID))
	})
	return runs, nil
}

// listed are the keys of a job's newest runs.
func (s *Store) listed(ctx context.Context, job string, limit int) ([]item, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	var keys []item
	seen := map[string]bool{}
	input := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(index), ScanIndexForward: aws.Bool(false),
		KeyConditionExpression:    aws.String("#job = :job"),
		ProjectionExpression:      aws.String("#pk, #sk"),
		ExpressionAttributeNames:  map[string]string{"#job": indexPK, "#pk": attrPK, "#sk": attrSK},
		ExpressionAttributeValues: item{":job": text(jobPrefix + job)},
	}
	for len(keys) < limit {
		input.Limit = aws.Int32(int32(min(limit-len(keys), 1000)))
		out, err := client.Query(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, it := range out.Items {
			read := &reader{item: it}
			if pk := read.text(attrPK); !seen[pk] {
				seen[pk] = true
				keys = append(keys, item{attrPK: it[attrPK], attrSK: it[attrSK]})
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			break
		}
		input.ExclusiveStartKey = out.LastEvaluatedKey
	}
	return keys, nil
}

// readAtOnce is how many items DynamoDB reads in one request.
const readAtOnce = 100

func (s *Store) readAll(ctx context.Context, keys []item) ([]item, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	var items []item
	asked := map[string]types.KeysAndAttributes{s.table: {Keys: keys, ConsistentRead: aws.Bool(true)}}
	for try := range tries {
		out, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: asked})
		if err != nil {
			return nil, err
		}
		for _, some := range out.Responses {
			items = append(items, some...)
		}
		// What does not fit into 16 MB, or is throttled, has to be asked for again.
		if asked = out.UnprocessedKeys; len(asked) == 0 {
			return items, nil
		}
		if len(items) > 0 {
			continue
		}
		if err := wait(ctx, try); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("items stay unread, also when asked for again")
}

// Find implements jobs.Store.
func (s *Store) Find(ctx context.Context, runID string) (jobs.Record, error) {
	k, _, err := s.find(ctx, runID)
	if err != nil {
		return jobs.Record{}, err
	}
	return k.Record, nil
}

// find reads a run, and tells whether it is its slot's newest.
func (s *Store) find(ctx context.Context, runID string) (k *kept, newest bool, err error) {
	doing := fmt.Sprintf("finding run %q", runID)
	for range 2 { // the run may move between the two requests
		where, err := s.read(ctx, runKey(runID))
		if err != nil {
			return nil, false, s.failed(doing, err)
		}
		if where == nil {
			break
		}
		if where[attrState] != nil {
			if k, err = decode(where); err != nil {
				return nil, false, s.failed(doing, err)
			}
			return k, false, nil
		}
		read := &reader{item: where}
		slot := read.text(attrSlot)
		if read.err != nil {
			return nil, false, s.failed(doing, read.err)
		}
		if k, err = s.load(ctx, slotKey(slot)); err != nil {
			return nil, false, s.failed(doing, err)
		}
		if k != nil && k.RunID == runID {
			return k, true, nil
		}
	}
	return nil, false, fmt.Errorf("%s: %w", doing, jobs.ErrNotFound)
}

// Cancel implements jobs.Store.
func (s *Store) Cancel(ctx context.Context, runID string) (jobs.Record, error) {
	doing := fmt.Sprintf("cancelling run %q", runID)
	for try := range tries {
		k, newest, err := s.find(ctx, runID)
		if err != nil {
			return jobs.Record{}, err
		}
		if !newest {
			return k.Record, fmt.Errorf("%s: %w: its slot has a newer run", doing, jobs.ErrDone)
		}
		next, err := k.Record.Cancel(s.now())
		if err != nil || next.State == jobs.Cancelled && k.State == jobs.Cancelled {
			return next, err
		}
		put, err := s.place(k, next)
		if err != nil {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, err)
		}
		changes := []types.TransactWriteItem{{Put: put}}
		if next.State == jobs.Cancelled && next.Group != "" {
			changes = append(changes, types.TransactWriteItem{Update: s.leave(next.Group, next.Slot)})
		}
		refused, err := s.write(ctx, changes)
		if err != nil {
			return jobs.Record{}, s.failed(doing, err)
		}
		if failedCondition(refused, 1) && !failedCondition(refused, 0) {
			// There is no such group any more.
			if refused, err = s.write(ctx, changes[:1]); err != nil {
				return jobs.Record{}, s.failed(doing, err)
			}
		}
		if refused == nil {
			return next, nil
		}
		if err := wait(ctx, try); err != nil {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, err)
		}
	}
	return jobs.Record{}, s.failed(doing, errContended)
}

// Pause implements jobs.Store.
func (s *Store) Pause(ctx context.Context, job string, paused bool) error {
	doing := fmt.Sprintf("resuming job %q", job)
	if paused {
		doing = fmt.Sprintf("pausing job %q", job)
	}
	var changes []types.TransactWriteItem
	for shard := range uint32(pauseShards) {
		key := pauseKey(job, shard)
		if paused {
			changes = append(changes, types.TransactWriteItem{Put: &types.Put{TableName: &s.table, Item: key}})
		} else {
			changes = append(changes, types.TransactWriteItem{Delete: &types.Delete{TableName: &s.table, Key: key}})
		}
	}
	for try := range tries {
		refused, err := s.write(ctx, changes)
		if err != nil {
			return s.failed(doing, err)
		}
		if refused == nil {
			return nil
		}
		if err := wait(ctx, try); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return s.failed(doing, errContended)
}

// Paused implements jobs.Store.
func (s *Store) Paused(ctx context.Context, job string) (bool, error) {
	it, err := s.read(ctx, pauseKey(job, 0))
	if err != nil {
		return false, s.failed(fmt.Sprintf("looking whether job %q is paused", job), err)
	}
	return it != nil, nil
}
