// Command rotate-secret is the Lambda function that rotates the app secrets in Secrets Manager.
package main

import (
	"log"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/function"
)

func main() {
	handler, err := function.NewRotateSecret(function.Process())
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(handler)
}
