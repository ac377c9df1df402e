//go:build unix

package rotation_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", owner.Uid, owner.Gid)
}

func TestTheOwnerOfAFileStaysTheSame(t *testing.T) {
	inWorld(t, func(w *world) {
		if os.Geteuid() == 0 { // nobody else can give a file away
			if err := os.Chown(w.path, 12345, 12346); err != nil {
				t.Fatal(err)
			}
		}
		before := ownerOf(t, w.path)
		w.rotate()
		if after := ownerOf(t, w.path); after != before {
			t.Errorf("owner %s, want %s", after, before)
		}
	})
}
