//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
)

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
