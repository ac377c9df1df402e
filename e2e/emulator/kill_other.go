//go:build !linux

package emulator

import "errors"

// KillFunction is not there: a process's environment is read from /proc.
func (a *AWS) KillFunction(string) (int, error) { return 0, errors.New("only on Linux") }

// killProcesses works on Linux alone.
func killProcesses(...string) (int, error) {
	return 0, errors.New("only Linux shows other processes' environment")
}
