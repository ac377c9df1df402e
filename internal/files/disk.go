package files

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// openDisk opens a regular file, of one version if one is given.
func openDisk(name, version string) (io.ReadCloser, error) {
	file, err := openRegular(name)
	if err != nil || version == "" {
		return file, err
	}
	// The opened file itself is checked, not what stands under its name a moment later.
	found, err := digest(file)
	if err == nil && found != version {
		err = fmt.Errorf("%w: %s is no longer the version asked for", ErrChanged, name)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", name, err), file.Close())
	}
	return file, nil
}

// versionOnDisk reads the whole file: a modification time can stay the same while the content changes, and the other
// way round.
func versionOnDisk(name string) (version string, err error) {
	file, err := openRegular(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	version, err = digest(file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return version, nil
}

func digest(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// openRegular opens a file that can be read more than once.
func openRegular(name string) (*os.File, error) {
	// A pipe would block in Open until somebody writes to it.
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, diskError("reading", name, err)
	case info.IsDir():
		return nil, fmt.Errorf("reading %s: it is a directory: name a file in it", name)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("reading %s: it is not a regular file, and it is read more than once: copy it to one", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, diskError("reading", name, err)
	}
	return file, nil
}

// putDisk writes base/name by way of a temporary file beside it.
func putDisk(base, name string, data []byte) (where string, err error) {
	where = filepath.Join(base, filepath.FromSlash(name))
	defer func() {
		if err != nil {
			where, err = "", diskError("writing", where, err)
		}
	}()
	if err := os.MkdirAll(base, 0o700); err != nil {
		return where, err
	}
	// A Root does not follow a symbolic link out of base.
	root, err := os.OpenRoot(base)
	if err != nil {
		return where, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir := path.Dir(name)
	if err := root.MkdirAll(dir, 0o700); err != nil {
		return where, err
	}
	temp := path.Join(dir, ".writing-"+rand.Text())
	if err := writeSynced(root, temp, data); err != nil {
		return where, errors.Join(err, ignoreMissing(root.Remove(temp)))
	}
	if err := root.Rename(temp, name); err != nil {
		return where, errors.Join(err, ignoreMissing(root.Remove(temp)))
	}
	return where, syncDir(root, dir)
}

// writeSynced writes a new file and returns when it is on the disk. No test shows that: without Sync the file differs
// only after the power has failed.
func writeSynced(root *os.Root, name string, data []byte) (err error) {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

// syncDir makes a rename last through a power failure.
func syncDir(root *os.Root, name string) (err error) {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return dir.Sync()
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// diskError adds what to do about an error of the file system.
func diskError(doing, name string, err error) error {
	mend := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		mend = " (free some space, or name a directory on another disk)"
	case errors.Is(err, syscall.EROFS):
		mend = " (name a directory that can be written: on Lambda that is /tmp, or an s3:// location)"
	case errors.Is(err, fs.ErrPermission):
		mend = " (give the user that runs this the permission, or name another place)"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		mend = " (a file stands where a directory is needed: name another place)"
	case errors.Is(err, fs.ErrNotExist):
		mend = " (check the path)"
	}
	return fmt.Errorf("%s %s: %w%s", doing, name, err, mend)
}
