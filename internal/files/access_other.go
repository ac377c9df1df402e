//go:build !unix

package files

import (
	"io/fs"
	"os"
)

// mayWrite tells whether a directory can be written to at all. For whom, only a write would tell.
func mayWrite(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o200 == 0 {
		err = fs.ErrPermission
	}
	return err
}
