package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Function is a bootstrap under Lambda's Runtime Interface Emulator: one execution environment, which starts cold at its
// first invocation and is warm afterwards.
type Function struct {
	name      string
	bootstrap string
	url       string
	client    *http.Client
	process   *process
	runtime   string // the address of its Runtime API
}

// StartFunction starts the emulator for the function of that name, with these environment variables and no others of
// this process's. The bootstrap itself starts with the first Invoke.
func StartFunction(name, bootstrap string, environment map[string]string) (*Function, error) {
	arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
	program, err := Tool("sam/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-" + arch)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	runtimeAPI, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--log-level", "error",
		"--runtime-interface-emulator-address", address, "--runtime-api-address", runtimeAPI, bootstrap)
	cmd.Dir = filepath.Dir(bootstrap)
	variables := map[string]string{
		"PATH":                            os.Getenv("PATH"),
		"AWS_LAMBDA_FUNCTION_NAME":        name,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
		"AWS_LAMBDA_FUNCTION_TIMEOUT":     "60",
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
	}
	maps.Copy(variables, environment)
	for variable, value := range variables {
		cmd.Env = append(cmd.Env, variable+"="+value)
	}
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	f := &Function{
		name:      name,
		bootstrap: bootstrap,
		url:       "http://" + address + "/2015-03-31/functions/function/invocations",
		client:    &http.Client{Transport: &http.Transport{}, Timeout: 2 * time.Minute},
		process:   p,
		runtime:   runtimeAPI,
	}
	err = p.await(20*time.Second, func() error {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Failure is what Lambda answers for an invocation that failed.
type Failure struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

// Error implements error.
func (f *Failure) Error() string { return f.Type + ": " + f.Message }

// Invoke invokes the function and returns its answer, or a *Failure.
func (f *Function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("invoking %s: %w\n%s", f.name, err, f.Log())
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	failure := &Failure{}
	// The emulator answers a failure with status 200, too: what tells it apart is its form.
	if json.Unmarshal(answer, failure) == nil && failure.Type != "" {
		return nil, failure
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("invoking %s: %s: %s", f.name, resp.Status, answer)
	}
	return answer, nil
}

// Log is what the function and the emulator printed so far.
func (f *Function) Log() string { return f.process.output.String() }

// PeakMemory is the most memory that the bootstrap's process has had resident, in bytes.
func (f *Function) PeakMemory() (int64, error) {
	statuses, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, err
	}
	for _, exe := range statuses {
		if target, err := os.Readlink(exe); err != nil || target != f.bootstrap {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "status"))
		if err != nil {
			return 0, err
		}
		_, rest, found := strings.Cut(string(status), "VmHWM:")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			return 0, fmt.Errorf("no VmHWM in %s", exe)
		}
		kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
		return kilobytes << 10, err
	}
	return 0, fmt.Errorf("no process runs %s", f.bootstrap)
}

// Kill kills the bootstrap's process, whatever it is at, as Lambda does with one that uses too much memory: the invocation
// fails, and the next one begins with a process of its own. The emulator goes on.
func (f *Function) Kill() error {
	n, err := killProcesses("AWS_LAMBDA_RUNTIME_API=" + f.runtime)
	if err == nil && n == 0 {
		err = fmt.Errorf("killing %s: no process runs it", f.name)
	}
	return err
}

// Close stops the emulator and the function.
func (f *Function) Close() error {
	f.client.CloseIdleConnections()
	return f.process.close()
}
