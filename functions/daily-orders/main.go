// Command daily-orders is the Lambda function that fetches a day's orders and computes its statistics.
package main

import (
	"log"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func main() {
	job, config, err := function.NewDailyOrders(function.Process())
	if err != nil {
		log.Fatal(err)
	}
	jobs.Start(job, config)
}
