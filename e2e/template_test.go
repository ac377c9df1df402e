//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
)

func TestRunbookHasEveryAlarm(t *testing.T) {
	template, err := emulator.Transformed()
	if err != nil {
		t.Fatal(err)
	}
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile(filepath.Join(root, "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	alarms := regexp.MustCompile(`"AlarmName": \{"Fn::Sub": "\$\{AWS::StackName\}-([a-z-]+)"\}`).FindAllSubmatch(template, -1)
	if len(alarms) != strings.Count(string(template), `"AWS::CloudWatch::Alarm"`) {
		t.Fatalf("%d alarms have a name of the stack's", len(alarms))
	}
	for _, alarm := range alarms {
		if !bytes.Contains(runbook, []byte("`"+string(alarm[1])+"`")) {
			t.Errorf("docs/runbook.md does not say what to do about %s", alarm[1])
		}
	}
}

func TestTemplateIsValidWithoutAWarning(t *testing.T) {
	sam, err := emulator.Tool("sam/bin/sam")
	if err != nil {
		t.Fatal(err)
	}
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{sam, "validate", "--lint", "--region", emulator.Region, "--template-file", filepath.Join(root, "template.yaml")},
		{filepath.Join(filepath.Dir(sam), "cfn-lint"), "--non-zero-exit-code", "informational", filepath.Join(root, "template.yaml")},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "SAM_CLI_TELEMETRY=0", "LC_ALL=C"}
		if output, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(output), "[W") {
			t.Errorf("%s: %v\n%s", filepath.Base(command[0]), err, output)
		}
	}
}
