//go:build e2e

// Command storeclaimer claims slots of the table that is its argument, as the owner that is its second: one for each line
// that it reads. It answers each with a line: won, held, or what went wrong. The end-to-end tests run two of it against
// each other.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: storeclaimer TABLE OWNER <SLOTS")
		os.Exit(2)
	}
	table, owner := os.Args[1], os.Args[2]
	store := dynamodb.New(table, func(ctx context.Context) (dynamodb.Client, error) {
		c, err := config.LoadDefaultConfig(ctx)
		return sdk.NewFromConfig(c), err
	})
	slots := bufio.NewScanner(os.Stdin)
	for slots.Scan() {
		_, err := store.Claim(context.Background(), jobs.Claim{
			Slot: slots.Text(), Job: "job", RunID: owner + "/" + slots.Text(), Owner: owner, Until: time.Now().Add(time.Hour),
		})
		switch {
		case err == nil:
			fmt.Println("won")
		case errors.Is(err, jobs.ErrHeld):
			fmt.Println("held")
		default:
			fmt.Println(err)
		}
	}
	if err := slots.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
