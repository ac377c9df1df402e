package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhatServePrintsCanBeTried runs the lines that the demo prints, as somebody would who pastes them into a shell.
func TestWhatServePrintsCanBeTried(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	serve := process(ctx, t, "demo", "--serve", "--dir", t.TempDir())
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	var tips []string
	lines := bufio.NewScanner(out)
	for up := false; lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if up = up || strings.HasPrefix(line, "Still up"); up && line != "" {
			tips = append(tips, line)
		}
		if strings.HasPrefix(line, "m2mjobs is this command") {
			break
		}
	}
	shell := shellWithCommand(t, serve.Env)
	var token string
	tried := map[string]int{}
	for _, tip := range tips {
		switch {
		case strings.HasPrefix(tip, "TOKEN="):
			token = strings.TrimSpace(shell(tip + `; echo "$TOKEN"`))
		case strings.HasPrefix(tip, "curl "):
			address := regexp.MustCompile(`'(http[^']*)'`).FindStringSubmatch(tip)[1]
			get(t, address, token)
		case strings.HasPrefix(tip, "m2mjobs invoke"), strings.HasPrefix(tip, "m2mjobs token"):
			shell(tip)
		default:
			continue
		}
		tried[strings.Fields(tip)[0]]++
	}
	if tried["curl"] != 2 || tried["m2mjobs"] != 4 {
		t.Errorf("tried %v, want 2 addresses and 4 commands", tried)
	}
	stop()
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := serve.Wait(); serve.ProcessState.ExitCode() != exitDone {
		t.Errorf("after an interrupt: %v", err)
	}
}

// shellWithCommand runs lines in a shell that finds the test binary as m2mjobs.
func shellWithCommand(t *testing.T, environment []string) func(line string) string {
	bin := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "m2mjobs")); err != nil {
		t.Fatal(err)
	}
	return func(line string) string {
		c := exec.CommandContext(t.Context(), "sh", "-c", line)
		c.Env = append(environment, "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(out)
	}
}

func get(t *testing.T, address, token string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || len(body) < 10 {
		t.Errorf("GET %s: %d with %d bytes, %v", address, resp.StatusCode, len(body), err)
	}
}
