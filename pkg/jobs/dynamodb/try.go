package dynamodb

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Try finds out whether the table is there and may be written to, and changes nothing: it sends one transaction with the three
// kinds of writes that a claim has (a put, an update, a condition), each on the condition that an item is there that never is.
// DynamoDB looks at the conditions after the permissions, and refuses all three. The error says what to do.
func (s *Store) Try(ctx context.Context) error {
	const doing = "trying to write"
	exists := aws.String("attribute_exists(" + attrPK + ")")
	put, update, check := tryKey("put"), tryKey("update"), tryKey("check")
	refused, err := s.write(ctx, []types.TransactWriteItem{
		{Put: &types.Put{TableName: &s.table, Item: put, ConditionExpression: exists}},
		{Update: &types.Update{
			TableName: &s.table, Key: update, ConditionExpression: exists, UpdateExpression: aws.String("SET tried = :one"),
			ExpressionAttributeValues: item{":one": number(1)},
		}},
		{ConditionCheck: &types.ConditionCheck{TableName: &s.table, Key: check, ConditionExpression: exists}},
	})
	if err != nil {
		return s.failed(doing, err)
	}
	for i := range 3 {
		if !failedCondition(refused, i) {
			return s.failed(doing, errNotRefused)
		}
	}
	return nil
}

// errNotRefused is a table that has an item under a key that nothing writes, or is busy.
var errNotRefused = errors.New("what was tried was not refused for its condition; try again")

// tryKey is a key that no slot has.
func tryKey(kind string) item { return item{attrPK: text("doctor#" + kind), attrSK: text("doctor")} }
