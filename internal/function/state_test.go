package function_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// awsThatDenies counts the requests of a function to AWS, and denies them all.
func awsThatDenies(t *testing.T) (take func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Header.Get("X-Amz-Target"))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("Connection", "close") // the function's own connections would outlive the test
		w.WriteHeader(http.StatusBadRequest)
		if _, err := io.WriteString(w, `{"__type":"AccessDeniedException","message":"not authorized to perform: dynamodb:PutItem"}`); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "no-such-file", "AWS_SHARED_CREDENTIALS_FILE": "no-such-file",
	} {
		t.Setenv(name, value)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		got := asked
		asked = nil
		return got
	}
}

func TestStateIsKeptInTheTableThatTheEnvironmentNames(t *testing.T) {
	asked := awsThatDenies(t)
	handler, err := function.Handler(function.SyncCustomData, function.Environment{
		"M2M_SECRET_ID": "no-such-secret", "OUTPUT": t.TempDir(), "STATE_TABLE": "shop-runs",
		"CONTINUE_STATE_MACHINE": "arn:aws:states:us-east-1:123456789012:stateMachine:shop-continue",
	}, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("building the function asked AWS for %v", got)
	}
	_, err = handler.Invoke(t.Context(), []byte(`{"rows":[]}`))
	for _, part := range []string{"table shop-runs", "the role needs dynamodb:PutItem"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	if diff := cmp.Diff([]string{"DynamoDB_20120810.TransactWriteItems"}, asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestBothFunctionsKeepTheirStateWhereTheEnvironmentSays(t *testing.T) {
	environment := function.Environment{
		"M2M_SECRET_ID": "no-such-secret", "OUTPUT": t.TempDir(), "SHOP_URL": "https://shop.example.com", "SHOP_RESOURCE": "https://shopping.api",
	}
	for _, name := range []string{function.SyncCustomData, function.DailyOrders} {
		for _, table := range []string{"", "shop-runs"} {
			environment["STATE_TABLE"], environment["CONTINUE_STATE_MACHINE"] = table, ""
			if table != "" {
				environment["CONTINUE_STATE_MACHINE"] = "arn:aws:states:us-east-1:123456789012:stateMachine:shop-continue"
			}
			var config jobs.Config
			if _, err := function.Handler(name, environment, func(c *jobs.Config) { config = *c }); err != nil {
				t.Fatal(err)
			}
			if (config.Store != nil) != (table != "") || (config.Continue != nil) != (table != "") {
				t.Errorf("%s with the table %q: store %v, continued %t", name, table, config.Store, config.Continue != nil)
			}
		}
	}
}
