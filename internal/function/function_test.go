package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFunctionNamesEveryVariableThatIsMissingOrWrong(t *testing.T) {
	tests := map[string]struct {
		function    string
		environment function.Environment
		says        []string
	}{
		"nothing set": {function.DailyOrders, function.Environment{},
			[]string{"M2M_SECRET_ID is not set", "OUTPUT is not set", "SHOP_URL is not set", "SHOP_RESOURCE is not set"}},
		"empty": {function.DailyOrders, function.Environment{"OUTPUT": "", "SHOP_URL": "", "SHOP_RESOURCE": "", "M2M_SECRET_ID": "x"},
			[]string{"OUTPUT is empty", "SHOP_URL is empty", "SHOP_RESOURCE is empty"}},
		"both secrets": {function.SyncCustomData, function.Environment{"OUTPUT": "out", "M2M_SECRET_ID": "x", "M2M_SECRET_FILE": "y"},
			[]string{"M2M_SECRET_ID and M2M_SECRET_FILE are both set"}},
		"time zone": {function.DailyOrders, function.Environment{"OUTPUT": "out", "M2M_SECRET_ID": "x", "SHOP_URL": "https://shop.example.com",
			"SHOP_RESOURCE": "https://shopping.api", "TIME_ZONE": "Mars/Olympus"}, []string{"TIME_ZONE is wrong", "Europe/Oslo"}},
		"budget": {function.SyncCustomData, function.Environment{"OUTPUT": "out", "M2M_SECRET_ID": "x", "LOGTO_BUDGET": "50"},
			[]string{"LOGTO_BUDGET is wrong", `"50" is no budget`, "25/s or none"}},
		"shop address": {function.DailyOrders, function.Environment{"OUTPUT": "out", "M2M_SECRET_ID": "x", "SHOP_URL": "shop",
			"SHOP_RESOURCE": "https://shopping.api"}, []string{"SHOP_URL is wrong"}},
		"state machine": {function.SyncCustomData, function.Environment{"OUTPUT": "out", "M2M_SECRET_ID": "x", "STATE_TABLE": "shop-runs",
			"CONTINUE_STATE_MACHINE": "shop-continue"}, []string{"CONTINUE_STATE_MACHINE is wrong", "arn:aws:states:"}},
		"state machine without a table": {function.DailyOrders, function.Environment{"M2M_SECRET_ID": "x",
			"CONTINUE_STATE_MACHINE": "arn:aws:states:eu-central-1:123456789012:stateMachine:shop-continue"},
			[]string{"STATE_TABLE is not set", "OUTPUT is not set"}},
		"token cache": {function.SyncCustomData, function.Environment{"OUTPUT": "out", "M2M_SECRET_ID": "x", "TOKEN_CACHE": "s3://bucket"},
			[]string{"TOKEN_CACHE is wrong", "dynamodb://TABLE"}},
		"token cache without a table": {function.DailyOrders, function.Environment{"M2M_SECRET_ID": "x", "TOKEN_CACHE": "dynamodb://"},
			[]string{"TOKEN_CACHE is wrong", "OUTPUT is not set"}},
		"secret file": {function.SyncCustomData, function.Environment{"OUTPUT": "out", "M2M_SECRET_FILE": "no-such-file"},
			[]string{"M2M_SECRET_FILE is wrong", "no-such-file does not exist"}},
		"unknown function": {"no-such", function.Environment{}, []string{"there is no such function", function.SyncCustomData}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := function.Handler(test.function, test.environment, func(*jobs.Config) {})
			if !errors.As(err, new(*function.ConfigError)) {
				t.Fatalf("got %v, want a *ConfigError", err)
			}
			for _, part := range append(test.says, test.function) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestColdCostsOneTokenAndOneSecretReadAndWarmNone(t *testing.T) {
	orders, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	world, err := demo.Start(t.TempDir(), orders)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	}()
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	events := map[string]string{
		function.DailyOrders:    `{"date":"1997-03-24"}`,
		function.SyncCustomData: `{"rows":[{"primaryEmail":"c00004@example.com","customData":{"plan":"pro"}}]}`,
	}
	for name, event := range events {
		handler, err := function.Handler(name, world.Environment(name), func(c *jobs.Config) { c.Log = logs })
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{1, 0} {
			answer, err := handler.Invoke(context.Background(), []byte(event))
			if err != nil {
				t.Fatal(err)
			}
			var report jobs.Report
			if err := json.Unmarshal(answer, &report); err != nil {
				t.Fatal(err)
			}
			if report.Tokens != want || report.SecretReads != want {
				t.Errorf("%s: %d tokens and %d secret reads, want %d each", name, report.Tokens, report.SecretReads, want)
			}
		}
	}
}

func TestColdStartsThatShareTokensCostOne(t *testing.T) {
	s := newSurroundings(t, logtotest.Config{}, true)
	s.environment["TOKEN_CACHE"] = filepath.Join(t.TempDir(), "tokens")
	for i, want := range []int64{1, 0, 0} {
		handler, err := function.Handler(function.SyncCustomData, s.environment, func(c *jobs.Config) { c.Log = io.Discard })
		if err != nil {
			t.Fatal(err)
		}
		answer, err := handler.Invoke(t.Context(), []byte(byEmail))
		if err != nil {
			t.Fatal(err)
		}
		var report jobs.Report
		if err := json.Unmarshal(answer, &report); err != nil {
			t.Fatal(err)
		}
		if report.Tokens != want {
			t.Errorf("cold start %d: %d tokens, want %d", i+1, report.Tokens, want)
		}
	}
	if got := s.tenant.Requests("POST /oidc/token"); got != 1 {
		t.Errorf("%d token requests, want 1", got)
	}
}

func TestAHandlerLetsATokenRequestInFlightEndBeforeItAnswers(t *testing.T) {
	s := newSurroundings(t, logtotest.Config{}, true)
	s.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", Latency: 200 * time.Millisecond})
	handler, err := function.Handler(function.SyncCustomData, s.environment, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	// The run gives up before the token is there; the token request does not.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for s.tenant.Requests("POST /oidc/token") == 0 {
			runtime.Gosched()
		}
		cancel()
	}()
	answer, err := handler.Invoke(ctx, []byte(byEmail))
	var report jobs.Report
	if wrong := json.Unmarshal(answer, &report); err == nil || wrong != nil {
		t.Fatalf("%v, %v: %s", err, wrong, answer)
	}
	if report.Tokens != 1 {
		t.Errorf("%d tokens when the handler answered, want the one that was in flight", report.Tokens)
	}
}

func TestRunsAwayFromLambdaAreToldApartByTheirTenant(t *testing.T) {
	stack := func(change func(function.Environment)) string {
		var got string
		s := newSurroundings(t, logtotest.Config{}, true)
		t.Chdir(filepath.Dir(s.environment["M2M_SECRET_FILE"]))
		environment := function.Environment{"M2M_SECRET_FILE": "secret.json", "OUTPUT": "out"}
		change(environment)
		if _, err := function.Handler(function.SyncCustomData, environment, func(c *jobs.Config) { got = c.Stack }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	seen := map[string]string{}
	for name, change := range map[string]func(function.Environment){
		"one tenant":     func(function.Environment) {},
		"another tenant": func(function.Environment) {},
		"an AWS secret":  func(e function.Environment) { delete(e, "M2M_SECRET_FILE"); e["M2M_SECRET_ID"] = "app" },
		"another account's": func(e function.Environment) {
			delete(e, "M2M_SECRET_FILE")
			e["M2M_SECRET_ID"] = "app"
			e["AWS_PROFILE"] = "prod"
		},
	} {
		got := stack(change)
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s have the same stack %s", name, other, got)
		}
		seen[got] = name
	}
	lambda := function.Environment{"M2M_SECRET_ID": "app", "OUTPUT": "s3://b", "AWS_LAMBDA_FUNCTION_NAME": "shop-sync-custom-data"}
	if _, err := function.Handler(function.SyncCustomData, lambda, func(c *jobs.Config) {
		if c.Stack != "shop" {
			t.Errorf("stack %q on Lambda, want shop", c.Stack)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAnInvocationWithNothingToDoCostsNothing(t *testing.T) {
	handler, err := function.Handler(function.SyncCustomData,
		function.Environment{"M2M_SECRET_ID": "no-such-secret", "OUTPUT": t.TempDir()}, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	answer, err := handler.Invoke(t.Context(), []byte(`{"rows":[]}`))
	if err != nil {
		t.Errorf("%v: %s", err, answer)
	}
}
