package emulator

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// NewTable makes the table that the comment of package jobs/dynamodb describes.
func NewTable(ctx context.Context, config aws.Config, name string) error {
	text, hash, sort := types.ScalarAttributeTypeS, types.KeyTypeHash, types.KeyTypeRange
	_, err := dynamodb.NewFromConfig(config).CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: text}, {AttributeName: aws.String("sk"), AttributeType: text},
			{AttributeName: aws.String("gsi1pk"), AttributeType: text}, {AttributeName: aws.String("gsi1sk"), AttributeType: text},
		},
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: hash}, {AttributeName: aws.String("sk"), KeyType: sort}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName:  aws.String("gsi1"),
			KeySchema:  []types.KeySchemaElement{{AttributeName: aws.String("gsi1pk"), KeyType: hash}, {AttributeName: aws.String("gsi1sk"), KeyType: sort}},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	})
	// The SDK sends it twice if the first answer was lost. AWS answers the same then.
	if errors.As(err, new(*types.ResourceInUseException)) {
		return nil
	}
	return err
}
