//go:build e2e

// Package e2e tests the functions as they are deployed. `make test` runs it. What it needs is installed under .tools/ by
// `make tools`; a missing tool fails it.
//
// TestDeployed…: the SAM CLI builds and deploys template.yaml into an emulator of AWS that enforces IAM, and the tests look
// at what arrives at the tenant, in the bucket, in the queues and in the logs; they share a stack and run one after the other. The
// others run the same bootstraps under Lambda's Runtime Interface Emulator, with a tenant, a shop and a bucket of their own, or
// need no stack, and run side by side. `make test` starts a process for each of the two kinds, at the same time.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
)

// shared is what the tests use together: starting the services takes seconds.
var shared struct {
	aws        *emulator.AWS
	built      emulator.Built
	bootstraps map[string]string // by the function's name
	stack      *stack
	// surroundings is the program of the tenant and of the shop.
	surroundings string
	command      func() (string, error) // the operator's command, built at its first use
	outage       *outage
}

func TestMain(m *testing.M) {
	flag.Parse() // TestMain is called before
	code, err := runTests(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "m2mjobs-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if shared.built, err = emulator.SAMBuild(dir, "", nil); err != nil {
		return 1, err
	}
	shared.bootstraps = map[string]string{
		function.SyncCustomData: shared.built.Bootstrap("SyncCustomDataFunction"),
		function.DailyOrders:    shared.built.Bootstrap("DailyOrdersFunction"),
		webhook:                 shared.built.Bootstrap("LogtoWebhookFunction"),
		rotation.Name:           shared.built.Bootstrap("RotateSecretFunction"),
	}
	if shared.surroundings, err = emulator.BuildProgram(dir, "./e2e/surroundings"); err != nil {
		return 1, err
	}
	shared.command = sync.OnceValues(func() (string, error) { return emulator.BuildProgram(dir, "./cmd/m2mjobs") })
	if shared.aws, err = emulator.StartAWS(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.aws.Close()) }()
	shared.stack, err = deploy(context.Background(), shared.aws, shared.built, stackName)
	defer func() { err = errors.Join(err, shared.stack.Close()) }()
	if err != nil {
		return 1, err
	}
	shared.outage = startOutage(shared.built)
	defer func() { err = errors.Join(err, shared.outage.Close()) }()
	return m.Run(), nil
}

// selected tells whether this process was asked for a test.
func selected(name string) bool {
	matches := func(flagName string) bool {
		expr, _, _ := strings.Cut(flag.Lookup(flagName).Value.String(), "/")
		return regexp.MustCompile(expr).MatchString(name)
	}
	return matches("test.run") && (flag.Lookup("test.skip").Value.String() == "" || !matches("test.skip"))
}

// awsConfig is the SDK's configuration for a caller with that key, over a client that the test cleans up.
func awsConfig(t *testing.T, key emulator.Key) aws.Config {
	t.Helper()
	config, err := shared.aws.Config(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	config.HTTPClient = &http.Client{Transport: transport}
	return config
}

// newSecret keeps a value in Secrets Manager and returns the secret's ARN.
func newSecret(t *testing.T, name, value string) string {
	t.Helper()
	client := sdk.NewFromConfig(awsConfig(t, shared.aws.Root()))
	out, err := client.CreateSecret(t.Context(), &sdk.CreateSecretInput{Name: &name, SecretString: &value})
	if errors.As(err, new(*types.ResourceExistsException)) {
		// The SDK sent it twice, because the first answer was lost. AWS would know it again by its ClientRequestToken.
		there, err := client.DescribeSecret(t.Context(), &sdk.DescribeSecretInput{SecretId: &name})
		if err != nil {
			t.Fatal(err)
		}
		return *there.ARN
	}
	if err != nil {
		t.Fatal(err)
	}
	return *out.ARN
}

// newBucket makes a bucket and returns a client that may do everything with it.
func newBucket(t *testing.T, name string) *s3.Client {
	t.Helper()
	client := s3.NewFromConfig(awsConfig(t, shared.aws.Root()))
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return client
}

// newUser makes an IAM user with a policy of these statements.
func newUser(t *testing.T, name, statements string) emulator.Key {
	t.Helper()
	key, err := shared.aws.NewUser(t.Context(), name, `{"Version":"2012-10-17","Statement":[`+statements+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// startFunction starts a function that ends with the test; its log is shown if the test fails.
func startFunction(t *testing.T, name string, environment map[string]string) *emulator.Function {
	t.Helper()
	f, err := emulator.StartFunction("e2e-"+name, shared.bootstraps[name], environment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, f.Log())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// invoke invokes a function that must succeed.
func invoke(t *testing.T, f *emulator.Function, payload []byte) []byte {
	t.Helper()
	answer, err := f.Invoke(context.WithoutCancel(t.Context()), payload)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
