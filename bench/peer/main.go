// Command peer is the Lambda function that somebody would write by hand: it loads the SDK's configuration, makes the
// clients that sync-custom-data has, and answers. The first answer of sync-custom-data is measured beside its first answer.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
)

func main() {
	c, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	h := handler{secretsmanager.NewFromConfig(c), s3.NewFromConfig(c), dynamodb.NewFromConfig(c), sfn.NewFromConfig(c)}
	lambda.Start(h.handle)
}

type handler struct {
	secrets *secretsmanager.Client
	files   *s3.Client
	table   *dynamodb.Client
	machine *sfn.Client
}

func (h handler) handle(context.Context, map[string]any) (map[string]any, error) {
	return map[string]any{}, nil
}
