package emulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// child is a program that takes its settings as a line of JSON on standard input, says one line when it is ready, answers each
// further line with one, and ends with its standard input.
type child struct {
	process *process
	in      io.WriteCloser
	out     *os.File
	lines   *bufio.Reader
}

// startChild starts one and returns what it said.
func startChild(cmd *exec.Cmd, settings any) (c *child, said string, err error) {
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	cmd.Stdout = write
	p, err := start(cmd)
	if err = errors.Join(err, write.Close()); err != nil {
		return nil, "", errors.Join(err, read.Close())
	}
	c = &child{p, in, read, bufio.NewReader(read)}
	if said, err = c.ask(settings); err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s did not start: %w", filepath.Base(cmd.Path), err), c.close(), errors.New(p.output.String()))
	}
	return c, said, nil
}

// ask sends a line of JSON and returns the line that is answered.
func (c *child) ask(v any) (answer string, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c.in, "%s\n", data); err != nil {
		return "", err
	}
	if err := c.out.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	answer, err = c.lines.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// close kills it.
func (c *child) close() error { return errors.Join(c.process.close(), c.out.Close()) }
