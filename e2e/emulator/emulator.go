// Package emulator runs what stands for AWS in the end-to-end tests and the benchmarks, each as a process of its own on
// 127.0.0.1: MiniStack for the services (StartAWS), Lambda's Runtime Interface Emulator around a function's real
// bootstrap (StartFunction), and an authorization server made by others (StartOIDC).
//
// The programs are those that `make tools` installs under .tools/. Where one is missing, the error says so: a test that
// needs it fails and is not skipped. Everything started here ends with its Close, and with this process if that is killed.
package emulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Root is the repository's directory, found from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "template.yaml")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no template.yaml in %s or above it", dir)
		}
	}
}

// Tool is the path of an installed tool: the one file that the pattern, relative to .tools/, fits.
func Tool(pattern string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(root, ".tools", pattern))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf(".tools/%s: found %d files, want 1: run `make tools`", pattern, len(found))
	}
	return found[0], nil
}

// Build builds a function's bootstrap for an architecture (arm64, amd64), as `sam build` does, and returns its path under dir.
func Build(dir, logicalID, architecture string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, architecture, logicalID)
	build := exec.Command("make", "--no-print-directory", "-C", root, "build-"+logicalID, "ARTIFACTS_DIR="+out, "ARCH="+architecture)
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", logicalID, err, output)
	}
	return filepath.Join(out, "bootstrap"), nil
}

// freeAddress is an address on which nothing listens at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// process is a running program with what it printed.
type process struct {
	cmd    *exec.Cmd
	output *output
	ended  chan struct{}
}

func start(cmd *exec.Cmd) (*process, error) {
	output, err := newOutput()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, output: output, ended: make(chan struct{})}
	cmd.Stderr = p.output.file
	if cmd.Stdout == nil {
		cmd.Stdout = p.output.file
	}
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", cmd.Path, err), output.file.Close())
	}
	go func() {
		defer close(p.ended)
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(p.output.file, "%s: %v\n", filepath.Base(cmd.Path), err)
		}
	}()
	return p, nil
}

// await returns when ready does so without an error.
func (p *process) await(limit time.Duration, ready func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready: %w\n%s", filepath.Base(p.cmd.Path), err, p.output)
		case <-deadline.C:
			return fmt.Errorf("%s was not ready in %s: %w\n%s", filepath.Base(p.cmd.Path), limit, err, p.output)
		}
	}
}

// close ends the process and those that it started.
func (p *process) close() error {
	err := killGroup(p.cmd.Process)
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// output is what a program prints: a file without a name, so that nobody wakes up to read it while something is measured, and
// nothing is left behind.
type output struct{ file *os.File }

func newOutput() (*output, error) {
	file, err := os.CreateTemp("", "m2mjobs-output-")
	if err != nil {
		return nil, err
	}
	return &output{file}, os.Remove(file.Name())
}

// String is all that was printed so far.
func (o *output) String() string {
	info, err := o.file.Stat()
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(o.file, 0, info.Size()))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
