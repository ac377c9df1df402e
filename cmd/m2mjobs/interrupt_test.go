package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

func TestAnInterruptEndsACommandThatWaitsForItsEvent(t *testing.T) {
	stdin, terminal := io.Pipe()
	defer terminal.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"invoke", "sync-custom-data", "--event", "-", "--state", t.TempDir()}, stdio{stdin, &stdout, &stderr})
	}()
	if _, err := terminal.Write([]byte("{")); err != nil { // it has begun to read
		t.Fatal(err)
	}
	interrupt()
	if code := <-ended; code != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
