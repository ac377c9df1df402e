// Command sync-custom-data is the Lambda function that brings users' custom data in Logto up to date.
package main

import (
	"log"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func main() {
	job, config, err := function.NewSyncCustomData(function.Process())
	if err != nil {
		log.Fatal(err)
	}
	jobs.Start(job, config)
}
