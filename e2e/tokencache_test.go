//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/dynamodb"
)

// What the comment of package m2m/dynamodb says that a function may do.
const tokenCacheActions = `"dynamodb:GetItem","dynamodb:UpdateItem"`

// sharing is a tenant whose app's tokens are shared by a table.
type sharing struct {
	tenant *logtotest.Tenant
	app    logtotest.App
	config aws.Config
	table  string
}

func newSharing(t *testing.T, table string) *sharing {
	t.Helper()
	newTable(t, awsConfig(t, shared.aws.Root()), table)
	s := &sharing{tenant: logtotest.New(t), table: table}
	s.config = awsConfig(t, newUser(t, table, storePolicy(table, tokenCacheActions)))
	s.tenant.AddResource(resource, "read:orders")
	s.app = s.tenant.AddApp("orders")
	s.tenant.Grant(s.app.ID, resource, "read:orders")
	return s
}

// coldStart is a Source that knows nothing of others, with a cache of its own on the table.
func (s *sharing) coldStart(t *testing.T, secret string) (*m2m.Source, *dynamodb.Cache) {
	t.Helper()
	cache := dynamodb.New(s.table, func(context.Context) (dynamodb.Client, error) { return sdk.NewFromConfig(s.config), nil })
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: s.tenant.URL, AppID: s.app.ID, AppSecret: m2m.NewSecret(secret)}),
		Resource:    resource, Scopes: []string{"read:orders"}, Cache: cache,
		HTTPClient: s.tenant.Client(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return source, cache
}

func (s *sharing) token(t *testing.T, secret string) string {
	t.Helper()
	source, _ := s.coldStart(t, secret)
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := source.Stats(); got.CacheFailures != 0 {
		t.Errorf("%d failures of the cache", got.CacheFailures)
	}
	return token.AccessToken
}

func TestAThousandColdStartsShareOneTokenInDynamoDB(t *testing.T) {
	s := newSharing(t, "tokens-thousand")
	const starts, atOnce = 1000, 50 // as many at once as the emulator serves within a second
	tokens := map[string]int{}
	var failures int64
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	began := time.Now()
	for range starts {
		source, _ := s.coldStart(t, s.app.Secret)
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			token, err := source.Token(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			tokens[token.AccessToken]++
			failures += source.Stats().CacheFailures
		})
	}
	all.Wait()
	if n := s.tenant.Requests("POST /oidc/token"); n != 1 || len(tokens) != 1 {
		t.Errorf("%d token requests and %d tokens among %d cold starts, want 1 (%d failures of the cache)", n, len(tokens), starts, failures)
	}
	t.Logf("%d cold starts, %d at once: %d token requests, %v", starts, atOnce, s.tenant.Requests("POST /oidc/token"), time.Since(began))
}

func TestATableOfTokensTellsNothingAndOutlivesNoSecret(t *testing.T) {
	s := newSharing(t, "tokens-sealed")
	first := s.token(t, s.app.Secret)
	client := sdk.NewFromConfig(awsConfig(t, shared.aws.Root()))
	scan := func() []map[string]types.AttributeValue {
		out, err := client.Scan(t.Context(), &sdk.ScanInput{TableName: &s.table, ConsistentRead: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		return out.Items
	}
	sealed := func() (one map[string]types.AttributeValue) {
		for _, item := range scan() {
			if item["sealed"] != nil {
				one = item
			}
		}
		return one
	}
	old := sealed()
	said := string(old["sealed"].(*types.AttributeValueMemberB).Value)
	for _, text := range []string{first, "eyJ", s.app.ID, s.app.Secret, resource} {
		if strings.Contains(said, text) || strings.Contains(fmt.Sprint(old["pk"]), text) {
			t.Error("an item shows what it is about")
		}
	}

	next := s.tenant.AddSecret(s.app.ID, logtotest.Secret{Name: "next"}).Value
	second := s.token(t, next)
	if second == first {
		t.Error("what was sealed with the old secret opened with the new one")
	}
	if s.token(t, next) != second || s.token(t, s.app.Secret) != first {
		t.Error("each secret's tokens are not shared among its own")
	}
	// The old one in the place of every item.
	for _, item := range scan() {
		if item["sealed"] == nil || item["pk"].(*types.AttributeValueMemberS).Value == old["pk"].(*types.AttributeValueMemberS).Value {
			continue
		}
		item["sealed"] = old["sealed"]
		delete(item, "lease")
		if _, err := client.PutItem(t.Context(), &sdk.PutItemInput{TableName: &s.table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	source, cache := s.coldStart(t, next)
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if token.AccessToken == first || token.AccessToken == second || source.Stats().CacheFailures != 1 {
		t.Errorf("a foreign entry was not passed over: %+v", source.Stats())
	}
	if got := cache.TokensThisMonth(); got != 3 {
		t.Errorf("%d tokens this month, want 3", got)
	}
	if got := s.tenant.Requests("POST /oidc/token"); got != 3 {
		t.Errorf("%d token requests, want 3", got)
	}
}

func TestA401TakesATokenOutOfTheTableForAll(t *testing.T) {
	s := newSharing(t, "tokens-refused")
	source, _ := s.coldStart(t, s.app.Secret)
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source.Invalidate(token.AccessToken)
	again, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again.AccessToken == token.AccessToken || s.token(t, s.app.Secret) != again.AccessToken {
		t.Error("a token that was refused is still handed out")
	}
}

func TestATableThatCannotBeUsedFailsNoCall(t *testing.T) {
	s := newSharing(t, "tokens-denied")
	s.config = awsConfig(t, newUser(t, "tokens-nobody", storePolicy("another", tokenCacheActions)))
	source, cache := s.coldStart(t, s.app.Secret)
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := source.Stats(); got.Tokens != 1 || got.CacheFailures != 1 || cache.TokensThisMonth() != 0 {
		t.Errorf("%+v, want a token and a failure of the cache", got)
	}
	// What the operator reads.
	_, err := cache.Load(t.Context(), strings.Repeat("0", 64))
	if err == nil || !strings.Contains(err.Error(), "table tokens-denied: the role needs dynamodb:GetItem") {
		t.Errorf("got %v, want the table and what the role needs", err)
	}
	s.table = "tokens-none"
	s.config = awsConfig(t, shared.aws.Root())
	_, cache = s.coldStart(t, s.app.Secret)
	if _, err := cache.Lease(t.Context(), strings.Repeat("0", 64), time.Now(), time.Now().Add(time.Second)); err == nil || !strings.Contains(err.Error(), "there is none of this name") {
		t.Errorf("got %v, want that there is no such table", err)
	}
}

func TestDeployedColdStartTakesTheTokenOfAnother(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	var told int64
	start := 0
	// Tokens live for seconds here, so one may end between two cold starts.
	eventually(t, 3*tokenLifetime, "a cold start without a token of its own", func() bool {
		if _, err := shared.aws.KillFunction(*s.name(function.SyncCustomData)); err != nil {
			t.Fatal(err)
		}
		start++ // the same rows again would be a duplicate, which needs no token
		row := fmt.Appendf(nil, `{"rows":[{"primaryEmail":%q,"customData":{"start":%d}}]}`, s.orders[0].CustomerEmail, start)
		answer, failed := s.invoke(t, function.SyncCustomData, row)
		if failed != "" {
			return false // it met the process while that died
		}
		var r jobs.Report
		if err := json.Unmarshal(answer, &r); err != nil {
			t.Fatal(err)
		}
		if r.Tokens > 0 {
			told = r.TokensThisMonth
		}
		return told > 0 && r.SecretReads == 1 && r.Tokens == 0
	})
	if got := s.customData(s.orders[0].CustomerEmail, "start"); fmt.Sprint(got) != fmt.Sprint(start) {
		t.Errorf("the tenant has %v, want %d: the shared token did nothing", got, start)
	}
}
