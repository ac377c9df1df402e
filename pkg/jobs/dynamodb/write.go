package dynamodb

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// tries is how often a change is tried while others change the same items; it comes to a few seconds.
const tries = 12

var errContended = errors.New("others change the same items all the time")

// wait lets others finish before the next try.
func wait(ctx context.Context, try int) error {
	longest := min(10*time.Millisecond<<try, 500*time.Millisecond)
	timer := time.NewTimer(rand.N(longest)) // #nosec G404 -- jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write makes the changes, all or none. If the table refused them it returns a reason for each.
func (s *Store) write(ctx context.Context, changes []types.TransactWriteItem) ([]types.CancellationReason, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if len(changes) == 1 && changes[0].Update != nil {
		return writeOne(ctx, client, changes[0].Update) // at half the price of a transaction
	}
	_, err = client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: changes})
	cancelled := (*types.TransactionCanceledException)(nil)
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != len(changes) {
		return nil, err
	}
	for _, reason := range cancelled.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case "None", codeCondition, "TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError":
		default:
			return nil, err
		}
	}
	return cancelled.CancellationReasons, nil
}

const codeCondition = "ConditionalCheckFailed"

func writeOne(ctx context.Context, client Client, u *types.Update) ([]types.CancellationReason, error) {
	_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: u.TableName, Key: u.Key, UpdateExpression: u.UpdateExpression, ConditionExpression: u.ConditionExpression,
		ExpressionAttributeNames: u.ExpressionAttributeNames, ExpressionAttributeValues: u.ExpressionAttributeValues,
		ReturnValuesOnConditionCheckFailure: u.ReturnValuesOnConditionCheckFailure,
	})
	if failed := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &failed) {
		return []types.CancellationReason{{Code: aws.String(codeCondition), Item: failed.Item}}, nil
	}
	if errors.As(err, new(*types.TransactionConflictException)) {
		return []types.CancellationReason{{Code: aws.String("TransactionConflict")}}, nil
	}
	return nil, err
}

// failedCondition tells whether the change at i was refused because of its condition.
func failedCondition(refused []types.CancellationReason, i int) bool {
	return i >= 0 && i < len(refused) && aws.ToString(refused[i].Code) == codeCondition
}

// expression collects what an update sets and on what condition. An attribute's placeholders are made of its name.
type expression struct {
	names      map[string]string
	values     item
	set        []string
	remove     []string
	add        []string
	conditions []string
}

func newExpression() *expression { return &expression{names: map[string]string{}, values: item{}} }

func (e *expression) name(attribute string) string {
	e.names["#"+attribute] = attribute
	return "#" + attribute
}

func (e *expression) value(placeholder string, v types.AttributeValue) string {
	e.values[":"+placeholder] = v
	return ":" + placeholder
}

// put sets an attribute, or removes it if v is nil.
func (e *expression) put(attribute string, v types.AttributeValue) {
	if v == nil {
		e.remove = append(e.remove, e.name(attribute))
		return
	}
	e.set = append(e.set, e.name(attribute)+" = "+e.value(attribute, v))
}

// member sets what a group has of a slot, or removes it if v is nil.
func (e *expression) member(slot string, v types.AttributeValue) {
	e.names["#member"] = slot
	path := e.name(attrMembers) + ".#member"
	if v == nil {
		e.remove = append(e.remove, path)
		return
	}
	e.set = append(e.set, path+" = "+e.value("member", v))
}

// increment adds one to a number.
func (e *expression) increment(attribute string) {
	e.add = append(e.add, e.name(attribute)+" "+e.value("one", number(1)))
}

// where adds a condition that compares an attribute.
func (e *expression) where(attribute, operator string, v types.AttributeValue) {
	e.conditions = append(e.conditions, e.name(attribute)+" "+operator+" "+e.value("was"+attribute, v))
}

// has adds a condition that an attribute is there.
func (e *expression) has(attribute string) {
	e.conditions = append(e.conditions, "attribute_exists("+e.name(attribute)+")")
}

// lacks adds a condition that an attribute is not there.
func (e *expression) lacks(attribute string) {
	e.conditions = append(e.conditions, "attribute_not_exists("+e.name(attribute)+")")
}

func (e *expression) condition() *string { return aws.String(strings.Join(e.conditions, " AND ")) }

func (e *expression) update(table string, key item) *types.Update {
	var clauses []string
	for _, clause := range []struct {
		word  string
		terms []string
	}{{"SET", e.set}, {"REMOVE", e.remove}, {"ADD", e.add}} {
		if len(clause.terms) > 0 {
			clauses = append(clauses, clause.word+" "+strings.Join(clause.terms, ", "))
		}
	}
	return &types.Update{
		TableName: &table, Key: key, UpdateExpression: aws.String(strings.Join(clauses, " ")),
		ConditionExpression: e.condition(), ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
}

// place puts a whole record in the place of last, nil if none: the condition is that this is so.
func (s *Store) place(last *kept, next jobs.Record) (*types.Put, error) {
	e, version := newExpression(), int64(1)
	if last == nil {
		e.lacks(attrPK)
	} else {
		e.where(attrVersion, "=", number(last.version))
		version = last.version + 1
	}
	it, err := s.encode(slotKey(next.Slot), kept{Record: next, version: version})
	if err != nil {
		return nil, err
	}
	put := &types.Put{
		TableName: &s.table, Item: it, ConditionExpression: e.condition(), ExpressionAttributeNames: e.names,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if len(e.values) > 0 {
		put.ExpressionAttributeValues = e.values
	}
	return put, nil
}
