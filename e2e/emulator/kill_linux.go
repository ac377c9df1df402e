package emulator

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// KillFunction kills the processes of a deployed function, as Lambda does with one that uses too much memory. It returns
// how many there were.
func (a *AWS) KillFunction(name string) (int, error) {
	return killProcesses("AWS_LAMBDA_FUNCTION_NAME="+name, "GATEWAY_PORT="+a.port)
}

// killProcesses kills the processes that have these environment variables.
func killProcesses(with ...string) (killed int, err error) {
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return 0, err
	}
	for _, file := range environments {
		environment, err := os.ReadFile(file)
		if err != nil { // it has ended, or is another user's
			continue
		}
		variables := bytes.Split(environment, []byte{0})
		if slices.ContainsFunc(with, func(one string) bool { return !contains(variables, one) }) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return killed, err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return killed, err
		}
		killed++
	}
	return killed, nil
}

func contains(variables [][]byte, variable string) bool {
	for _, v := range variables {
		if string(v) == variable {
			return true
		}
	}
	return false
}
