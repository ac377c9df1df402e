// Command logto-webhook is the Lambda function that takes Logto's webhooks and puts them on the event bus.
package main

import (
	"log"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
)

func main() {
	handler, err := webhook.New(function.Process())
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(handler)
}
