package dynamodb

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// DefaultTTL is how long a slot is remembered after its last change.
const DefaultTTL = 90 * 24 * time.Hour

// Client is what is asked of DynamoDB: *dynamodb.Client has it.
type Client interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// Store is a jobs.Store in a table. Any number of goroutines and processes may use one table.
type Store struct {
	// TTL is how long a slot is remembered after its last change. Zero: DefaultTTL. Set it before use.
	TTL time.Duration
	// Now is the wall clock. Nil: time.Now. Set it before use.
	Now func() time.Time

	table     string
	newClient func(context.Context) (Client, error)

	mu     sync.Mutex
	client Client
	got    *kept // what Get read last, for the claim that follows when a run is continued
	shares map[string]*shares
}

// New keeps slots in the table of that name. newClient is called at the first use and, if it fails, again at the next, so
// that an invocation without a slot pays nothing for the SDK.
func New(table string, newClient func(context.Context) (Client, error)) *Store {
	return &Store{table: table, newClient: newClient}
}

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Store) connect(ctx context.Context) (Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		client, err := s.newClient(ctx)
		if err != nil {
			return nil, fmt.Errorf("AWS configuration: %w", err)
		}
		s.client = client
	}
	return s.client, nil
}

// Get implements jobs.Store.
func (s *Store) Get(ctx context.Context, slot string) (jobs.Record, error) {
	doing := fmt.Sprintf("reading slot %q", slot)
	k, err := s.load(ctx, slotKey(slot))
	if err != nil {
		return jobs.Record{}, s.failed(doing, err)
	}
	if k == nil {
		return jobs.Record{}, fmt.Errorf("%s: %w", doing, jobs.ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = k
	return k.Clone(), nil
}

// recall returns what Get has just read of a slot, once, or nil.
func (s *Store) recall(slot string) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.got
	if k == nil || k.Slot != slot {
		return nil
	}
	s.got = nil
	return k
}

// load reads the record under a key, nil if there is none.
func (s *Store) load(ctx context.Context, key item) (*kept, error) {
	it, err := s.read(ctx, key)
	if err != nil || it == nil {
		return nil, err
	}
	return decode(it)
}

// read reads an item, nil if there is none.
func (s *Store) read(ctx context.Context, key item) (item, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	out, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}
