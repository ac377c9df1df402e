package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// TestTheJobInTheReadmeWorks builds the program that the README gives for a job of one's own and runs it against the
// demo's tenant and shop.
func TestTheJobInTheReadmeWorks(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "```go\npackage main\n")
	if !found {
		t.Fatal("the README has no program")
	}
	world := newWorld(t, t.TempDir(), nil)
	program, _, _ := strings.Cut(rest, "```")
	for placeholder, real := range map[string]string{
		"https://shop.example.com": world.ShopURL,
		"app.json":                 filepath.Join(world.Dir, "secrets", demo.YourJob+".json"),
	} {
		if !strings.Contains(program, placeholder) {
			t.Errorf("the program does not name %s", placeholder)
		}
		program = strings.ReplaceAll(program, placeholder, real)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n"+program), 0o600); err != nil {
		t.Fatal(err)
	}
	job := filepath.Join(dir, "count-stock")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", job, filepath.Join(dir, "main.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), job, `{"limit": 3}`)
	var stderr bytes.Buffer
	run.Stderr = &stderr
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var report jobs.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	if report.Outcome != jobs.OutcomeDone || report.Counts["products"] != 3 || report.Tokens != 1 || report.Requests != 1 {
		t.Errorf("outcome %s with %d products, %d tokens and %d requests, want done, 3, 1 and 1", report.Outcome, report.Counts["products"], report.Tokens, report.Requests)
	}
}
