package dynamodb_test

import (
	"context"
	"log"

	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/dynamodb"
)

// A thousand cold starts with the same app share one token.
func Example() {
	cache := dynamodb.New("shop-runs", func(ctx context.Context) (dynamodb.Client, error) {
		c, err := config.LoadDefaultConfig(ctx)
		return sdk.NewFromConfig(c), err
	})
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.FileCredentials("app.json"),
		Resource:    "https://shopping.api",
		Scopes:      []string{"read:orders"},
		Cache:       cache,
	})
	if err != nil {
		log.Fatal(err)
	}
	token, err := source.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("valid until %v; %d tokens this month", token.Expiry, cache.TokensThisMonth())
}
