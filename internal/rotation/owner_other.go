//go:build !unix

package rotation

import "os"

// keepOwner has nothing to do where files have no owner of that kind.
func keepOwner(string, *os.File) error { return nil }
