package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Built is what `sam build` made.
type Built struct{ Dir string }

// SAMBuild builds a template's functions for this machine into dir, with more environment variables. An empty template is
// template.yaml.
func SAMBuild(dir, template string, environment map[string]string) (Built, error) {
	root, err := Root()
	if err != nil {
		return Built{}, err
	}
	b := Built{filepath.Join(dir, "build")}
	if template == "" {
		template = filepath.Join(root, "template.yaml")
	}
	_, err = runTool(context.Background(), "sam/bin/sam", dir, environment, "build", "--config-file", filepath.Join(root, "samconfig.toml"), "--config-env", "local",
		"--template-file", template, "--base-dir", root, "--build-dir", b.Dir,
		"--parameter-overrides", "Architecture="+Architecture())
	return b, err
}

// Bootstrap is a function's program.
func (b Built) Bootstrap(logicalID string) string {
	return filepath.Join(b.Dir, logicalID, "bootstrap")
}

// Architecture of this machine, as Lambda calls it.
func Architecture() string {
	return map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
}

// Deploy deploys what was built by `sam deploy`.
func (a *AWS) Deploy(ctx context.Context, b Built, stack string, parameters map[string]string) error {
	arguments := []string{
		"deploy", "--template-file", filepath.Join(b.Dir, "template.yaml"), "--stack-name", stack, "--region", Region,
		"--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar",
		"--parameter-overrides", "Architecture=" + Architecture(),
	}
	for name, value := range parameters {
		arguments = append(arguments, name+"="+value)
	}
	_, err := a.SAM(ctx, arguments...)
	return err
}

// SAM runs a command of the SAM CLI as the account's root user, and returns what it printed to standard output.
func (a *AWS) SAM(ctx context.Context, arguments ...string) (string, error) {
	return runTool(ctx, "sam/bin/sam", a.dir, a.Environment(a.Root()), arguments...)
}

// runTool runs an installed tool in a directory that is its home, and returns what it printed to standard output.
func runTool(ctx context.Context, tool, home string, environment map[string]string, arguments ...string) (string, error) {
	program, err := Tool(tool)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Dir = home
	cmd.SysProcAttr = childAttributes()
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = 5 * time.Second
	for _, variable := range os.Environ() {
		// What Go needs to build is kept; the user's own AWS is not.
		if !strings.HasPrefix(variable, "AWS_") && !strings.HasPrefix(variable, "SAM_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "SAM_CLI_TELEMETRY=0", "__SAM_CLI_APP_DIR="+filepath.Join(home, "sam"), "ARCH="+runtime.GOARCH,
		"AWS_CONFIG_FILE="+filepath.Join(home, "none"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "none"))
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(tool), arguments[0], err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Transformed is the template as CloudFormation gets it: SAM's own resources are made into those of the services, by the
// translator that the SAM CLI has. It is JSON.
func Transformed() ([]byte, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "transform-")
	if err != nil {
		return nil, err
	}
	printed, err := runTool(context.Background(), "sam/bin/python", home, map[string]string{"AWS_DEFAULT_REGION": Region},
		filepath.Join(root, "e2e", "emulator", "transform.py"), filepath.Join(root, "template.yaml"))
	return []byte(printed), errors.Join(err, os.RemoveAll(home))
}

// Delete deletes a stack as `make delete` does, and returns what that printed.
func (a *AWS) Delete(ctx context.Context, stack string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return runTool(ctx, "sam/bin/python", a.dir, a.Environment(a.Root()), filepath.Join(root, "tools", "delete.py"), stack,
		"--region", Region, "--no-prompts")
}

// Everything lists what there is in the account: names and ARNs by the resources' types, as CloudFormation calls them.
func (a *AWS) Everything(ctx context.Context) (map[string][]string, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	environment := a.Environment(a.Root())
	environment["AWS_DEFAULT_REGION"] = Region
	printed, err := runTool(ctx, "sam/bin/python", a.dir, environment, filepath.Join(root, "e2e", "emulator", "everything.py"))
	if err != nil {
		return nil, err
	}
	var all map[string][]string
	return all, json.Unmarshal([]byte(printed), &all)
}
