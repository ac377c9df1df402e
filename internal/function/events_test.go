package function_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// TestEachSampleEventIsTaken gives each function the events that lie beside it, in the order of their names.
func TestEachSampleEventIsTaken(t *testing.T) {
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
	// What daily-orders wrote to its directory is in the bucket of the events, too.
	written := http.StripPrefix("/m2mjobs-bucket/", http.FileServer(http.Dir(filepath.Join(world.Dir, "out"))))
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"b1946ac92492d2347c6235b4d2611184"`)
		written.ServeHTTP(w, r)
	}))
	defer bucket.Close()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": bucket.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, value)
	}

	const noSuchRun = `error continuing run "the-run-id-of-the-report"`
	want := map[string]string{
		"daily-orders/by-hand":               "done map[customers:58 orders:60 pages:2]",
		"daily-orders/continuation":          noSuchRun,
		"daily-orders/schedule":              "done map[customers:58 orders:60 pages:2]",
		"daily-orders/step-functions":        "items done done",
		"sync-custom-data/continuation":      noSuchRun,
		"sync-custom-data/dry-run":           "done map[missing:0 rejected:0 rows:1 stale:0 unchanged:0 wouldChange:1]",
		"sync-custom-data/file":              "done map[changed:58 missing:0 rejected:0 rows:58 stale:0 unchanged:0]",
		"sync-custom-data/rows":              "done map[changed:1 missing:2 rejected:0 rows:3 stale:0 unchanged:0]",
		"sync-custom-data/s3-object-created": "done map[changed:0 missing:0 rejected:0 rows:58 stale:0 unchanged:58]",
		"sync-custom-data/sqs":               "batchItemFailures []",
		"sync-custom-data/step-functions":    "items done done",
	}
	for _, name := range []string{function.DailyOrders, function.SyncCustomData} {
		handler, err := function.Handler(name, world.Environment(name), func(c *jobs.Config) { c.Log = io.Discard })
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob("../../functions/" + name + "/events/*.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			event, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sample := name + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			answer, err := handler.Invoke(t.Context(), event)
			if got := told(t, answer, err); want[sample] == "" || !strings.HasPrefix(got, want[sample]) {
				t.Errorf("%s: %s, want %s", sample, got, want[sample])
			}
			delete(want, sample)
		}
	}
	for sample := range want {
		t.Errorf("%s: there is no such event", sample)
	}
}

// told says in short what a handler answered.
func told(t *testing.T, answer []byte, err error) string {
	var one struct {
		jobs.Report
		BatchItemFailures []any `json:"batchItemFailures"`
	}
	if answer[0] == '[' {
		var all []jobs.Report
		if err := json.Unmarshal(answer, &all); err != nil {
			t.Fatal(err)
		}
		text := "items"
		for _, report := range all {
			text += " " + string(report.Outcome)
		}
		return text
	}
	if err := json.Unmarshal(answer, &one); err != nil {
		t.Fatal(err)
	}
	switch {
	case err != nil:
		return "error " + one.Error
	case one.Job == "":
		return fmt.Sprint("batchItemFailures ", one.BatchItemFailures)
	}
	return fmt.Sprint(one.Outcome, " ", one.Counts)
}
