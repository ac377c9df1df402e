//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// ownJob is the job of docs/your-own-job.md.
const ownJob = "count-stock"

// ownTemplate is template.yaml with that page's part in it, and what makes Go see the page's program where it says that it stands.
func ownTemplate(t *testing.T) (template string, environment map[string]string) {
	t.Helper()
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	page := read("docs/your-own-job.md")
	block := func(language string) string {
		_, rest, opened := strings.Cut(page, "```"+language+"\n")
		text, _, closed := strings.Cut(rest, "```")
		if !opened || !closed {
			t.Fatalf("the page has no %s", language)
		}
		return text
	}
	dir := t.TempDir()
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "functions", ownJob, "main.go"): filepath.Join(dir, "main.go"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.go": block("go"), "overlay.json": string(overlay),
		"template.yaml": strings.Replace(read("template.yaml"), "\nResources:\n", "\nResources:\n"+block("yaml"), 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "template.yaml"), map[string]string{"GOFLAGS": "-overlay=" + filepath.Join(dir, "overlay.json")}
}

// runOwnJob has the page's job, which is deployed in a stack, do its slot twice, by its role.
func runOwnJob(t *testing.T, called string) {
	t.Helper()
	s := shared.stack
	if err := s.putApp(t.Context(), called+"/"+ownJob, s.apps[ownJob]); err != nil {
		t.Fatal(err)
	}
	other := &stack{called: called, scheduler: s.scheduler}
	input := other.slot(t, ownJob, "2026-11-23T06:00:00Z")
	for _, want := range []jobs.Outcome{jobs.OutcomeDone, jobs.OutcomeDuplicate} {
		out, err := s.lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String(called + "-" + ownJob), Payload: input})
		if err != nil {
			t.Fatal(err)
		}
		var r jobs.Report
		if err := json.Unmarshal(out.Payload, &r); err != nil {
			t.Fatalf("%v: %s", err, out.Payload)
		}
		if r.Outcome != want || r.Counts["products"] != 3 || r.Slot != fmt.Sprintf("%[1]s/count-stock/%[1]s-count-stock/2026-11-23T06:00:00Z", called) {
			t.Errorf("the page's job: %s, want %s and the 3 products that the shop has", out.Payload, want)
		}
	}
}
