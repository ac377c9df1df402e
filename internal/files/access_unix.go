//go:build unix

package files

import "syscall"

// mayWrite tells whether this process may make files in a directory (access(2), W_OK).
func mayWrite(dir string) error { return syscall.Access(dir, 2) }
