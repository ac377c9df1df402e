package stack

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// What a pause switched off stands in the table of runs, beside the items of package jobs/dynamodb:
//
//	pk                sk    what
//	switched#JOB      off   starters: a set of KIND NAME ID
//
// It has no time to live: it stays as long as the pause.
func (s *Stack) noteKey(job string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: "switched#" + job},
		"sk": &types.AttributeValueMemberS{Value: "off"},
	}
}

// note adds starters to those that are to be switched on again, before they are switched off: a pause that is cut off is
// undone whole.
func (s *Stack) note(ctx context.Context, job string, off []Starter) error {
	if len(off) == 0 {
		return nil
	}
	set := &types.AttributeValueMemberSS{}
	for _, starter := range off {
		set.Value = append(set.Value, starter.Kind+" "+starter.Name+" "+starter.id)
	}
	_, err := dynamodb.NewFromConfig(s.Config).UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table()), Key: s.noteKey(job), UpdateExpression: aws.String("ADD #starters :off"),
		ExpressionAttributeNames:  map[string]string{"#starters": "starters"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":off": set},
	})
	if err != nil {
		return fmt.Errorf("noting in table %s what is switched off: %w", s.table(), err)
	}
	return nil
}

// noted are the starters that were switched off.
func (s *Stack) noted(ctx context.Context, job string) ([]Starter, error) {
	out, err := dynamodb.NewFromConfig(s.Config).GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(s.table()), Key: s.noteKey(job), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("reading from table %s what was switched off: %w", s.table(), err)
	}
	set, ok := out.Item["starters"].(*types.AttributeValueMemberSS)
	if !ok {
		return nil, nil
	}
	var off []Starter
	for _, value := range set.Value {
		if parts := strings.Split(value, " "); len(parts) == 3 {
			off = append(off, Starter{parts[0], parts[1], parts[2]})
		}
	}
	return off, nil
}

// forget drops the note once everything is on again.
func (s *Stack) forget(ctx context.Context, job string) error {
	_, err := dynamodb.NewFromConfig(s.Config).DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(s.table()), Key: s.noteKey(job)})
	if err != nil {
		return fmt.Errorf("table %s: %w", s.table(), err)
	}
	return nil
}
