package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// TestTheJobOfThePageWorks puts the job of docs/your-own-job.md where the page says it stands, and runs it by the page's own command
// against the demo's tenant and shop.
func TestTheJobOfThePageWorks(t *testing.T) {
	page, err := os.ReadFile("../../docs/your-own-job.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```go\n")
	program, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no program")
	}
	dir := t.TempDir()
	file, err := filepath.Abs("../../functions/count-stock/main.go")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: filepath.Join(dir, "main.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"main.go": program, "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, rest, found = strings.Cut(string(page), "```sh\n")
	command, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no command")
	}

	world := newWorld(t, t.TempDir(), nil)
	variables := filepath.Dir(world.EnvironmentFile(demo.YourJob))
	answer := func(command string, v any) {
		t.Helper()
		run := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "DIR", variables))
		run.Dir = "../.."
		run.Env = append(os.Environ(), "GOFLAGS=-overlay="+filepath.Join(dir, "overlay.json"))
		var stderr bytes.Buffer
		run.Stderr = &stderr
		out, err := run.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		if err := json.Unmarshal(out, v); err != nil {
			t.Fatal(err)
		}
	}
	var report jobs.Report
	answer(command, &report)
	if report.Outcome != jobs.OutcomeDone || report.Counts["products"] != 3 || report.Tokens != 1 || report.Requests != 1 {
		t.Errorf("outcome %s with %d products, %d tokens and %d requests, want done, 3, 1 and 1", report.Outcome, report.Counts["products"], report.Tokens, report.Requests)
	}
	var examined doctor.Report
	answer(strings.ReplaceAll(command, `{"limit": 10}`, `{"doctor": true}`), &examined)
	if !examined.Well || !slices.ContainsFunc(examined.Checks, func(l doctor.Line) bool { return l.Check == "scopes" && l.Result == doctor.OK }) {
		t.Errorf("the doctor says %+v", examined)
	}
}
