// Package dynamodb shares m2m tokens between execution environments by a DynamoDB table, and counts them:
//
//	cache := dynamodb.New("shop-runs", func(ctx context.Context) (dynamodb.Client, error) {
//		c, err := config.LoadDefaultConfig(ctx)
//		return sdk.NewFromConfig(c), err
//	})
//	source, err := m2m.NewSource(m2m.Config{Cache: cache, ...})
//
// The table has a partition key pk and a sort key sk, both text, and a time to live by the attribute expires: that of
// pkg/jobs/dynamodb is one, and both may use the same. What is in it:
//
//	pk               sk       what
//	token#NAME       token    a sealed token, and until when somebody gets the next
//	tokens#2026-11   tokens   how many tokens were got in that month (UTC)
//
// A function's role needs this, on the table alone:
//
//   - Effect: Allow
//     Action: [dynamodb:GetItem, dynamodb:UpdateItem]
//     Resource: !GetAtt RunsTable.Arn
//
// A cold start that finds a token costs one read of 1 KB. One that gets it costs a read and three writes more.
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Client is what is asked of DynamoDB: *dynamodb.Client has it.
type Client interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
}

// Cache is an m2m.TokenCache in a table. Any number of goroutines, functions and apps may use one table.
type Cache struct {
	table     string
	newClient func(context.Context) (Client, error)

	mu     sync.Mutex
	client Client

	month atomic.Int64
}

var _ m2m.TokenCache = (*Cache)(nil)

// New shares tokens by the table of that name. newClient is called at the first use and, if it fails, again at the next.
func New(table string, newClient func(context.Context) (Client, error)) *Cache {
	return &Cache{table: table, newClient: newClient}
}

// TokensThisMonth is how many tokens all who share the table had got in the month (UTC) when this Cache stored one last. Zero:
// it has stored none, and does not know. It is an estimate of what the tenant counts: it does not know of other tables and
// apps, nor of tokens that were got while the table could not be reached, and the tenant's period may begin on another day.
func (c *Cache) TokensThisMonth() int64 { return c.month.Load() }

// Load implements m2m.TokenCache.
func (c *Cache) Load(ctx context.Context, name string) ([]byte, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	out, err := client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &c.table, Key: tokenKey(name), ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("sealed"),
	})
	if err != nil {
		return nil, c.failed(err)
	}
	if data, ok := out.Item["sealed"].(*types.AttributeValueMemberB); ok {
		return data.Value, nil
	}
	return nil, nil
}

// Lease implements m2m.TokenCache.
func (c *Cache) Lease(ctx context.Context, name string, now, until time.Time) (bool, error) {
	_, err := c.update(ctx, &dynamodb.UpdateItemInput{
		Key:                 tokenKey(name),
		UpdateExpression:    aws.String("SET lease = :until, expires = :expires"),
		ConditionExpression: aws.String("attribute_not_exists(lease) OR lease <= :now OR lease > :absurd"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":until": number(until.UnixMilli()), ":now": number(now.UnixMilli()), ":absurd": number(now.Add(time.Minute).UnixMilli()),
			":expires": number(until.Add(time.Hour).Unix()),
		},
	})
	if errors.As(err, new(*types.ConditionalCheckFailedException)) {
		return false, nil
	}
	return err == nil, err
}

// Store implements m2m.TokenCache, and counts the token.
func (c *Cache) Store(ctx context.Context, name string, data []byte, now, end time.Time) error {
	_, stored := c.update(ctx, &dynamodb.UpdateItemInput{
		Key:              tokenKey(name),
		UpdateExpression: aws.String("SET sealed = :sealed, expires = :expires"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":sealed": &types.AttributeValueMemberB{Value: data}, ":expires": number(end.Unix()),
		},
	})
	now = now.UTC()
	out, counted := c.update(ctx, &dynamodb.UpdateItemInput{
		Key:              key("tokens#"+now.Format("2006-01"), "tokens"),
		UpdateExpression: aws.String("SET expires = :expires ADD tokens :one"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":expires": number(now.AddDate(0, 4, 0).Unix()), ":one": number(1),
		},
		ReturnValues: types.ReturnValueUpdatedNew,
	})
	if counted == nil {
		if n, ok := out.Attributes["tokens"].(*types.AttributeValueMemberN); ok {
			total, err := strconv.ParseInt(n.Value, 10, 64)
			if counted = err; err == nil {
				c.month.Store(total)
			}
		}
	}
	return errors.Join(stored, counted)
}

func (c *Cache) update(ctx context.Context, in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	in.TableName = &c.table
	out, err := client.UpdateItem(ctx, in)
	if err != nil {
		return nil, c.failed(err)
	}
	return out, nil
}

func (c *Cache) connect(ctx context.Context) (Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := c.newClient(ctx)
		if err != nil {
			return nil, fmt.Errorf("table %s: AWS configuration: %w", c.table, err)
		}
		c.client = client
	}
	return c.client, nil
}

// failed names the table and, where there is one, the mend.
func (c *Cache) failed(err error) error {
	mend := ""
	if errors.As(err, new(*types.ResourceNotFoundException)) {
		mend = "there is none of this name in this account and region: "
	}
	if api := smithy.APIError(nil); errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException" {
		mend = "the role needs dynamodb:GetItem and dynamodb:UpdateItem on it: "
	}
	return fmt.Errorf("table %s: %s%w", c.table, mend, err)
}

func tokenKey(name string) map[string]types.AttributeValue { return key("token#"+name, "token") }

func key(pk, sk string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: sk}}
}

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
