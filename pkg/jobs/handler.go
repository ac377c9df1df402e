package jobs

import (
	"github.com/aws/aws-lambda-go/lambda"
)

// Handler returns the Lambda handler of a job. Its Invoke answers the Report as JSON ({"batchItemFailures"} for a
// queue's batch, an array of Reports for a Step Functions batch), together with an error if the run failed: Lambda
// then sees the error, and the command shows both.
func Handler[P any](job Job[P], config Config) lambda.Handler { panic("TODO") }

// Start serves a job on Lambda. It does not return.
func Start[P any](job Job[P], config Config) { panic("TODO") }
