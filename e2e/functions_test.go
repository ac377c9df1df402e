//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const day = "1997-03-24"

// event reads a sample event of a function.
func event(t *testing.T, job, name string) []byte {
	t.Helper()
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "functions", job, "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// report invokes a function and reads its report, which must say that the run is done.
func report(t *testing.T, f *emulator.Function, payload []byte) jobs.Report {
	t.Helper()
	var r jobs.Report
	if err := json.Unmarshal(invoke(t, f, payload), &r); err != nil {
		t.Fatal(err)
	}
	if r.Outcome != jobs.OutcomeDone {
		t.Fatalf("outcome %s: %s", r.Outcome, r.Error)
	}
	return r
}

// object reads an object of the world's bucket, and its ETag.
func (w *world) object(t *testing.T, key string) (data []byte, etag string) {
	t.Helper()
	out, err := w.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	data, err = io.ReadAll(out.Body)
	if err := errors.Join(err, out.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return data, strings.Trim(*out.ETag, `"`)
}

// created is the event that S3 sends for an object, with an id of its own.
func (w *world) created(t *testing.T, key, id string) []byte {
	t.Helper()
	_, etag := w.object(t, key)
	return edited(t, event(t, function.SyncCustomData, "s3-object-created"), map[string]string{
		"m2mjobs-bucket":                       w.bucket,
		"customers/1997-03-24.ndjson":          key,
		"b1946ac92492d2347c6235b4d2611184":     etag,
		"17793124-05d4-b198-2fde-7ededc63b103": id,
	})
}

// edited replaces parts of a sample event, each of which must be there.
func edited(t *testing.T, event []byte, parts map[string]string) []byte {
	t.Helper()
	for old, part := range parts {
		if !bytes.Contains(event, []byte(old)) {
			t.Fatalf("the sample event has no %s", old)
		}
		event = bytes.ReplaceAll(event, []byte(old), []byte(part))
	}
	return event
}

// totals are a customer's orders up to the end of the day, as an independent computation from the orders' file.
func (w *world) totals() map[string]any {
	type sum struct{ count, items, cents int64 }
	all, today := map[string]*sum{}, map[string]*sum{}
	first, last := map[string]string{}, map[string]string{}
	add := func(to map[string]*sum, email string, items, cents int64) {
		if to[email] == nil {
			to[email] = &sum{}
		}
		to[email].count++
		to[email].items += items
		to[email].cents += cents
	}
	for _, o := range w.orders {
		if o.PlacedOn > day {
			continue
		}
		add(all, o.CustomerEmail, o.Quantity, o.TotalCents)
		if first[o.CustomerEmail] == "" {
			first[o.CustomerEmail] = o.PlacedOn
		}
		last[o.CustomerEmail] = o.PlacedOn
		if o.PlacedOn == day {
			add(today, o.CustomerEmail, o.Quantity, o.TotalCents)
		}
	}
	want := map[string]any{}
	for email, d := range today {
		a := all[email]
		want[email] = map[string]any{
			"asOf": day, "count": a.count, "items": a.items, "spentCents": a.cents, "currency": "USD",
			"first": first[email], "last": last[email],
			"day": map[string]any{"count": d.count, "items": d.items, "spentCents": d.cents},
		}
	}
	return want
}

func TestDayGoesFromTheShopThroughS3ToTheTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "day")
	daily := startFunction(t, function.DailyOrders, w.environment(function.DailyOrders))
	sync := startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData))

	r := report(t, daily, event(t, function.DailyOrders, "schedule"))
	if r.Tokens != 1 || r.SecretReads != 1 {
		t.Errorf("daily-orders, cold: %d tokens and %d secret reads, want 1 and 1", r.Tokens, r.SecretReads)
	}
	if want := "e2e/daily-orders/m2mjobs-daily-orders/1997-03-25T03:15:00Z"; r.Slot != want {
		t.Errorf("slot %s, want %s", r.Slot, want)
	}
	stats, _ := w.object(t, "stats/"+day+".json")
	var figures struct {
		Orders       int64 `json:"orders"`
		RevenueCents int64 `json:"revenueCents"`
	}
	if err := json.Unmarshal(stats, &figures); err != nil {
		t.Fatal(err)
	}
	if figures.Orders != 60 || figures.RevenueCents != 177679 {
		t.Errorf("statistics of %d orders and %d cents, want 60 and 177679:\n%s", figures.Orders, figures.RevenueCents, stats)
	}

	want := w.totals()
	r = report(t, sync, w.created(t, "customers/"+day+".ndjson", "first"))
	if r.Counts["changed"] != int64(len(want)) {
		t.Errorf("sync-custom-data changed %d of %d customers: %v", r.Counts["changed"], len(want), r.Counts)
	}
	got := map[string]any{}
	for email := range want {
		got[email] = w.CustomData(email)["orders"]
	}
	if diff := cmp.Diff(plain(t, want), plain(t, got)); diff != "" {
		t.Errorf("the customers' data (-want +got):\n%s", diff)
	}
}

// plain is v as JSON reads it.
func plain(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestColdInvocationTakesOneTokenAndOneSecretAndAWarmOneNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "warm")
	rows := func(plan string) []byte {
		return []byte(`{"rows":[{"primaryEmail":"` + w.orders[0].CustomerEmail + `","customData":{"plan":"` + plan + `"}}]}`)
	}
	sync := startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData))
	for i, want := range []struct{ tokens, secrets int64 }{{1, 1}, {0, 0}, {0, 0}} {
		tokens, secrets := w.Tenant.Requests("POST /oidc/token"), w.secretReads.Load()
		r := report(t, sync, rows([]string{"pro", "team", "free"}[i]))
		if r.Counts["changed"] != 1 {
			t.Errorf("invocation %d: counts %v, want one changed", i+1, r.Counts)
		}
		if n := int64(w.Tenant.Requests("POST /oidc/token") - tokens); n != want.tokens || r.Tokens != want.tokens {
			t.Errorf("invocation %d: %d token requests, reported %d, want %d", i+1, n, r.Tokens, want.tokens)
		}
		if n := w.secretReads.Load() - secrets; n != want.secrets || r.SecretReads != want.secrets {
			t.Errorf("invocation %d: %d secret reads, reported %d, want %d", i+1, n, r.SecretReads, want.secrets)
		}
	}
}

func TestInvocationWithoutRowsAsksForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "empty")
	sync := startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData))
	report(t, sync, []byte(`{"rows":[]}`))
	if tokens, secrets := w.Tenant.Requests(""), w.secretReads.Load(); tokens != 0 || secrets != 0 {
		t.Errorf("%d requests to the tenant and %d secret reads, want none", tokens, secrets)
	}
}

func TestFunctionSaysWhichSecretItMayNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "denied")
	environment := w.environment(function.SyncCustomData)
	environment["M2M_SECRET_ID"] = w.secrets[function.DailyOrders]
	sync := startFunction(t, function.SyncCustomData, environment)
	_, err := sync.Invoke(t.Context(), []byte(`{"rows":[{"username":"ada","customData":{"plan":"pro"}}]}`))
	if failure := (*emulator.Failure)(nil); !errors.As(err, &failure) {
		t.Fatalf("got %v, want a failure", err)
	}
	for _, part := range []string{w.secrets[function.DailyOrders], "secretsmanager:GetSecretValue"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
}

func TestFunctionWithoutItsVariablesNamesThemAll(t *testing.T) {
	t.Parallel()
	daily := startFunction(t, function.DailyOrders, nil)
	if _, err := daily.Invoke(t.Context(), []byte(`{}`)); err == nil {
		t.Error("it ran")
	}
	for _, variable := range []string{"M2M_SECRET_ID", "SHOP_URL", "SHOP_RESOURCE", "OUTPUT"} {
		// It may come after the answer.
		eventually(t, 10*time.Second, variable+" in the log", func() bool { return strings.Contains(daily.Log(), variable) })
	}
}

func TestLogHasTheReportAndNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "log")
	sync := startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData))
	r := report(t, sync, []byte(`{"rows":[{"primaryEmail":"`+w.orders[0].CustomerEmail+`","customData":{"plan":"pro"}}]}`))
	// It may come after the answer.
	eventually(t, 10*time.Second, "the report in the log", func() bool { return strings.Contains(sync.Log(), `"msg":"report"`) })
	if n := strings.Count(sync.Log(), `"msg":"report"`); n != 1 || !strings.Contains(sync.Log(), r.RunID) {
		t.Errorf("the log has the report %d times, want once:\n%s", n, sync.Log())
	}
	for _, never := range []string{"logtotestSecret", "eyJ"} {
		if strings.Contains(sync.Log(), never) {
			t.Errorf("the log has %s… in it", never)
		}
	}
}

func TestSampleEventsAreAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m2mjobs") // the bucket's name stands in the samples
	daily := startFunction(t, function.DailyOrders, w.environment(function.DailyOrders))
	sync := startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData))
	report(t, daily, event(t, function.DailyOrders, "by-hand")) // makes the file that others name

	tried := map[string]bool{}
	done := func(name string, f *emulator.Function, job string, edits map[string]string) {
		tried[job+"/"+name] = true
		t.Run(job+" "+name, func(t *testing.T) { report(t, f, edited(t, event(t, job, name), edits)) })
	}
	_, etag := w.object(t, "customers/"+day+".ndjson")
	done("schedule", daily, function.DailyOrders, nil)
	done("by-hand", daily, function.DailyOrders, nil)
	done("rows", sync, function.SyncCustomData, nil)
	done("dry-run", sync, function.SyncCustomData, nil)
	done("file", sync, function.SyncCustomData, nil)
	done("s3-object-created", sync, function.SyncCustomData, map[string]string{"b1946ac92492d2347c6235b4d2611184": etag})

	tried["sync-custom-data/sqs"] = true
	t.Run("sync-custom-data sqs", func(t *testing.T) {
		answer := invoke(t, sync, event(t, function.SyncCustomData, "sqs"))
		if !jsonEqual(answer, `{"batchItemFailures":[]}`) {
			t.Errorf("answered %s", answer)
		}
	})
	for job, f := range map[string]*emulator.Function{function.DailyOrders: daily, function.SyncCustomData: sync} {
		tried[job+"/step-functions"] = true
		t.Run(job+" step-functions", func(t *testing.T) {
			var reports []jobs.Report
			if err := json.Unmarshal(invoke(t, f, event(t, job, "step-functions")), &reports); err != nil {
				t.Fatal(err)
			}
			if len(reports) != 2 || reports[0].Outcome != jobs.OutcomeDone || reports[1].Outcome != jobs.OutcomeDone {
				t.Errorf("reports %+v", reports)
			}
		})
	}
	for job, f := range map[string]*emulator.Function{function.DailyOrders: daily, function.SyncCustomData: sync} {
		tried[job+"/continuation"] = true
		// A run that nobody began cannot go on: that it is looked for shows that the envelope was understood.
		t.Run(job+" continuation", func(t *testing.T) {
			_, err := f.Invoke(t.Context(), event(t, job, "continuation"))
			if err == nil || !strings.Contains(err.Error(), "the-run-id-of-the-report") {
				t.Errorf("got %v, want an error that names the run", err)
			}
		})
	}

	hook := startFunction(t, webhook, w.webhookEnvironment(t))
	for name, status := range map[string]int{
		"user-created": 200, "user-updated-base64": 200, "custom-data-echo": 200, "wrong-signature": 401, "get": 405,
	} {
		tried[webhook+"/"+name] = true
		t.Run(webhook+" "+name, func(t *testing.T) {
			var answer struct{ StatusCode int }
			if err := json.Unmarshal(invoke(t, hook, event(t, webhook, name)), &answer); err != nil || answer.StatusCode != status {
				t.Errorf("answered %d, want %d (%v)", answer.StatusCode, status, err)
			}
		})
	}
	done("repair", hook, webhook, nil)

	secrets := sdk.NewFromConfig(awsConfig(t, shared.aws.Root()))
	rotate := startFunction(t, rotation.Name, w.rotateEnvironment(t))
	version := announce(t, secrets, w.secrets[function.SyncCustomData], 1)
	for _, name := range []string{"create-secret", "set-secret", "test-secret", "finish-secret"} {
		tried[rotation.Name+"/"+name] = true
		t.Run(rotation.Name+" "+name, func(t *testing.T) {
			invoke(t, rotate, edited(t, event(t, rotation.Name, name), map[string]string{
				"arn:aws:secretsmanager:us-east-1:123456789012:secret:m2mjobs/sync-custom-data-AbCdEf": w.secrets[function.SyncCustomData],
				"3f1c0de2-7a54-4b1e-9c57-2a1f0e5d8b66":                                                 version,
			}))
		})
	}
	if got := labels(t, secrets, w.secrets[function.SyncCustomData], version); !slices.Equal(got, []string{rotation.Current}) {
		t.Errorf("after the four steps the version is labelled %q", got)
	}
	done("daily", rotate, rotation.Name, nil)
	done("dry-run", rotate, rotation.Name, nil)

	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "functions", "*", "events", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, file := range files {
		there[filepath.Base(filepath.Dir(filepath.Dir(file)))+"/"+strings.TrimSuffix(filepath.Base(file), ".json")] = true
	}
	if !maps.Equal(there, tried) {
		t.Errorf("the sample events and those tried differ: %s", cmp.Diff(there, tried))
	}
}

func jsonEqual(a []byte, b string) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal([]byte(b), &y) == nil && cmp.Equal(x, y)
}
