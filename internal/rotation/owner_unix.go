//go:build unix

package rotation

import (
	"fmt"
	"os"
	"syscall"
)

// keepOwner gives a file the owner of another, who else could not read what the superuser writes.
func keepOwner(of string, file *os.File) error {
	info, err := os.Stat(of)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("giving it to the owner of %s, as whom you can do this: %w", of, err)
	}
	return nil
}
