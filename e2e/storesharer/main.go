//go:build e2e

// Command storesharer runs a job that asks the tenant at the address that is its second argument as often as its budget of
// 100 requests a second allows, which it shares by the table that is its first. It ends when the tenant is gone.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: storesharer TABLE TENANT")
		os.Exit(2)
	}
	if err := share(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func share(table, tenant string) error {
	store := dynamodb.New(table, func(ctx context.Context) (dynamodb.Client, error) {
		c, err := config.LoadDefaultConfig(ctx)
		return sdk.NewFromConfig(c), err
	})
	budget, err := governor.ParseBudget("100/s")
	if err != nil {
		return err
	}
	g := governor.New(governor.Config{Base: http.DefaultTransport, Budget: budget, Lease: 2 * time.Second})
	client := &http.Client{Transport: g}
	job := governor.Govern(g, jobs.Job[struct{}]{Name: "sync", Run: func(context.Context, *jobs.Run[struct{}]) error {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					resp, err := client.Get(tenant + "/oidc/.well-known/openid-configuration")
					if err != nil {
						return
					}
					resp.Body.Close()
				}
			})
		}
		all.Wait()
		return nil
	}})
	event := fmt.Sprintf(`{"id":"%d","detail-type":"x","source":"test","time":"2026-11-24T03:00:00Z","detail":{}}`, os.Getpid())
	_, err = jobs.Handler(job, jobs.Config{Store: store}).Invoke(context.Background(), []byte(event))
	return err
}
