//go:build !linux

package emulator

import (
	"os"
	"syscall"
)

// The Runtime Interface Emulator is a Linux program: elsewhere this only has to compile.
func childAttributes() *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) error { return p.Kill() }
