// Command daily-orders is a bare Lambda function with the clients of the function of that name: it loads the SDK's configuration,
// makes them, and answers how many there are. Its first answer is measured beside the other's.
package main

import (
	"context"
	"encoding/json"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func main() {
	c, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	clients := []any{secretsmanager.NewFromConfig(c), s3.NewFromConfig(c), dynamodb.NewFromConfig(c)}
	lambda.Start(func(context.Context, json.RawMessage) (int, error) { return len(clients), nil })
}
