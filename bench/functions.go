package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const (
	megabyte = 1 << 20
	bucket   = "bench-bucket"
	table    = "bench-runs"
	day      = "1997-03-24"
)

// lab is where functions are measured: their bootstraps, and what they work with.
type lab struct {
	dir        string
	aws        *emulator.AWS
	counter    *counter
	world      *demo.World
	orders     []shop.Order
	bootstraps map[string]string // by the function's name
	peers      map[string]string // bare functions with the same clients
	byHand     string            // does by hand what sync-custom-data does
}

// measured are the functions, with what the template calls them.
var measured = map[string]string{
	function.SyncCustomData: "SyncCustomDataFunction",
	function.DailyOrders:    "DailyOrdersFunction",
	webhook.Name:            "LogtoWebhookFunction",
}

func functions(ctx context.Context) (results []result, err error) {
	dir, err := os.MkdirTemp("", "m2mjobs-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l := &lab{dir: dir, bootstraps: map[string]string{}, peers: map[string]string{}}
	if err := l.build(ctx); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		const architecture = "arm64" // the template's default
		bootstrap, err := emulator.Build(dir, measured[name], architecture)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(bootstrap)
		if err != nil {
			return nil, err
		}
		results = append(results, atMost("size of "+name+", stripped, for "+architecture, "%.1f MB", 15, float64(info.Size())/1e6))
	}
	cold, err := l.coldStarts(ctx)
	results = append(results, cold...)
	if err != nil {
		return results, err
	}

	if l.orders, err = cdnow.Orders(); err != nil {
		return results, err
	}
	if l.world, err = demo.Start(dir, l.orders); err != nil {
		return results, err
	}
	defer func() { err = errors.Join(err, l.world.Close()) }()
	if l.aws, err = emulator.StartAWS(); err != nil {
		return results, err
	}
	defer func() { err = errors.Join(err, l.aws.Close()) }()
	if l.counter, err = startCounter(l.aws.URL); err != nil {
		return results, err
	}
	defer func() { err = errors.Join(err, l.counter.Close()) }()
	if err := l.fill(ctx); err != nil {
		return results, err
	}
	for _, measure := range []func(context.Context) ([]result, error){l.day, l.thousandRows, l.warm, l.table, l.deliveries} {
		some, err := measure(ctx)
		if err != nil {
			return results, err
		}
		results = append(results, some...)
	}
	return results, nil
}

// build builds the functions and those that they are measured beside, all with the same flags.
func (l *lab) build(ctx context.Context) error {
	for name, id := range measured {
		bootstrap, err := emulator.Build(l.dir, id, runtime.GOARCH)
		if err != nil {
			return err
		}
		l.bootstraps[name] = bootstrap
		if l.peers[name], err = l.buildPeer(ctx, "./peer/"+name); err != nil {
			return err
		}
	}
	var err error
	l.byHand, err = l.buildPeer(ctx, "./byhand")
	return err
}

func (l *lab) buildPeer(ctx context.Context, at string) (bootstrap string, err error) {
	root, err := emulator.Root()
	if err != nil {
		return "", err
	}
	bootstrap = filepath.Join(l.dir, at, "bootstrap")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc,timetzdata", "-ldflags", "-s -w",
		"-o", bootstrap, at)
	build.Dir = filepath.Join(root, "bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", at, err, output)
	}
	return bootstrap, nil
}

// start starts a function with the environment that the template gives it. Who calls is root: what each may do is the
// end-to-end tests' matter.
func (l *lab) start(name string) (*emulator.Function, error) {
	return l.startAs(name, l.bootstraps[name], nil)
}

// startAs starts another bootstrap as that function, with more variables.
func (l *lab) startAs(name, bootstrap string, more map[string]string) (*emulator.Function, error) {
	environment := l.world.Environment(name)
	delete(environment, "M2M_SECRET_FILE")
	environment["M2M_SECRET_ID"], environment["OUTPUT"] = "bench/"+name, "s3://"+bucket
	maps.Copy(environment, l.aws.Environment(l.aws.Root()))
	maps.Copy(environment, more)
	return emulator.StartFunction("bench-"+name, bootstrap, environment)
}

// day takes the 60 orders of a day through both functions, cold, and then another day, warm.
func (l *lab) day(ctx context.Context) ([]result, error) {
	var results []result
	const next = "1997-03-25"
	for _, step := range []struct{ name, cold, warm string }{
		{function.DailyOrders, `{"date":"` + day + `"}`, `{"date":"` + next + `"}`},
		{function.SyncCustomData, source(day), source(next)}, // what daily-orders wrote
	} {
		some, err := l.coldAndWarm(ctx, step.name, step.cold, step.warm)
		if err != nil {
			return results, err
		}
		results = append(results, some...)
	}
	return results, nil
}

// source is the parameters of a sync of a day's customers.
func source(day string) string {
	return `{"source":"s3://` + bucket + `/customers/` + day + `.ndjson"}`
}

// fill makes the bucket, the table and the functions' secrets.
func (l *lab) fill(ctx context.Context) error {
	config, err := l.aws.Config(ctx, l.aws.Root())
	if err != nil {
		return err
	}
	if _, err := s3.NewFromConfig(config).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: new(bucket)}); err != nil {
		return err
	}
	if err := emulator.NewTable(ctx, config, table); err != nil {
		return err
	}
	for _, name := range []string{function.DailyOrders, function.SyncCustomData} {
		value, err := os.ReadFile(l.world.Environment(name)["M2M_SECRET_FILE"])
		if err != nil {
			return err
		}
		_, err = secretsmanager.NewFromConfig(config).CreateSecret(ctx, &secretsmanager.CreateSecretInput{
			Name: new("bench/" + name), SecretString: new(string(value)),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// coldAndWarm invokes a function twice, and counts its tokens and secret reads and takes its memory.
func (l *lab) coldAndWarm(ctx context.Context, name, cold, warm string) (results []result, err error) {
	f, err := l.start(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, invocation := range []struct {
		state   string
		payload string
		wanted  int64
	}{{"cold", cold, 1}, {"warm", warm, 0}} {
		before := l.world.Tenant.Requests(tokenRoute)
		report, err := invoke(ctx, f, invocation.payload)
		if err != nil {
			return nil, err
		}
		tokens := int64(l.world.Tenant.Requests(tokenRoute) - before)
		results = append(results,
			exactly(name+", "+invocation.state+": token requests", invocation.wanted, tokens),
			exactly(name+", "+invocation.state+": secret reads", invocation.wanted, report.SecretReads))
		if invocation.state == "cold" {
			memory, err := f.PeakMemory()
			if err != nil {
				return nil, err
			}
			results = append(results, atMost(name+", the 60 orders of "+day+": peak memory", "%.1f MB", 64, float64(memory)/megabyte))
		}
	}
	return results, nil
}

// invoke invokes a function, whose run must be done then.
func invoke(ctx context.Context, f *emulator.Function, payload string) (jobs.Report, error) {
	return invokeFor(ctx, f, payload, jobs.OutcomeDone)
}

// invokeFor invokes a function, whose run must have one of the outcomes then.
func invokeFor(ctx context.Context, f *emulator.Function, payload string, outcomes ...jobs.Outcome) (jobs.Report, error) {
	answer, err := f.Invoke(ctx, []byte(payload))
	if err != nil {
		return jobs.Report{}, err
	}
	var report jobs.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		return jobs.Report{}, err
	}
	if !slices.Contains(outcomes, report.Outcome) {
		return report, fmt.Errorf("the run is %s: %s", report.Outcome, report.Error)
	}
	return report, nil
}

// thousandRows syncs 1,000 rows twice, the second time in another environment and with 10 of them changed.
func (l *lab) thousandRows(ctx context.Context) ([]result, error) {
	var emails []string
	seen := map[string]bool{}
	for _, order := range l.orders {
		if !seen[order.CustomerEmail] && len(emails) < 1000 {
			seen[order.CustomerEmail] = true
			emails = append(emails, order.CustomerEmail)
		}
	}
	sync := func(changed int) (jobs.Report, int64, error) {
		rows := make([]string, len(emails))
		for i, email := range emails {
			rows[i] = fmt.Sprintf(`{"primaryEmail":%q,"customData":{"bench":%t}}`, email, i < changed)
		}
		f, err := l.start(function.SyncCustomData)
		if err != nil {
			return jobs.Report{}, 0, err
		}
		before := l.world.Tenant.Requests("")
		report, err := invoke(ctx, f, `{"rows":[`+strings.Join(rows, ",")+`]}`)
		return report, int64(l.world.Tenant.Requests("") - before), errors.Join(err, f.Close())
	}
	if _, _, err := sync(0); err != nil {
		return nil, err
	}
	report, requests, err := sync(10)
	if err != nil {
		return nil, err
	}
	return []result{
		exactly("1,000 rows of which 10 changed: users written", 10, report.Counts["changed"]),
		atMost("1,000 rows of which 10 changed: requests in all", "%.0f", 21, float64(requests)),
	}, nil
}
