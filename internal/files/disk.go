package files

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// openDisk opens a regular file, of one version if one is given.
func openDisk(name, version string, offset int64) (*Reader, error) {
	file, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	r := &diskReader{file: file}
	if err := r.begin(version, offset); err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", name, err), file.Close())
	}
	return &Reader{ReadCloser: r, size: r.began.Size(), version: r.version}, nil
}

// diskReader reads a file as long as nobody writes to it.
type diskReader struct {
	file  *os.File
	began fs.FileInfo
}

func (r *diskReader) begin(version string, offset int64) (err error) {
	// Before the digest, so that a write during it is noticed.
	if r.began, err = r.file.Stat(); err != nil {
		return err
	}
	if version != "" {
		// The opened file itself is checked, not what stands under its name a moment later.
		found, err := r.version()
		if err != nil {
			return err
		}
		if found != version {
			return fmt.Errorf("%w: it is no longer the version asked for", ErrChanged)
		}
	}
	_, err = r.file.Seek(offset, io.SeekStart)
	return err
}

func (r *diskReader) version() (string, error) {
	version, err := digest(io.NewSectionReader(r.file, 0, math.MaxInt64))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", r.file.Name(), err)
	}
	return version, nil
}

// Read implements io.Reader. That the file changed is told by its size and its time, which a system keeps to some
// milliseconds: a mishap, such as a file that is still being written, does not go unnoticed.
func (r *diskReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	now, statErr := r.file.Stat()
	if statErr != nil {
		return 0, statErr
	}
	if now.Size() != r.began.Size() || !now.ModTime().Equal(r.began.ModTime()) {
		return 0, fmt.Errorf("reading %s: %w while it was read: let its writer finish, and start again", r.file.Name(), ErrChanged)
	}
	return n, err
}

func (r *diskReader) Close() error { return r.file.Close() }

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

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".writing-"

// diskFile is a temporary file beside the one that it becomes.
type diskFile struct {
	where      string
	root       *os.Root
	file       *os.File
	temp, name string // below root
}

// createDisk begins to write base/name.
func createDisk(base, name string) (where string, f *diskFile, err error) {
	where = filepath.Join(base, filepath.FromSlash(name))
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", nil, diskError("writing", where, err)
	}
	// A Root does not follow a symbolic link out of base.
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", nil, diskError("writing", where, err)
	}
	f = &diskFile{where: where, root: root, name: name, temp: path.Join(path.Dir(name), tempPrefix+rand.Text())}
	if err = root.MkdirAll(path.Dir(name), 0o700); err == nil {
		f.file, err = root.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return "", nil, errors.Join(diskError("writing", where, err), root.Close())
	}
	return where, f, nil
}

func (f *diskFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	if err != nil {
		err = diskError("writing", f.where, err)
	}
	return n, err
}

// commit returns when the file is on the disk under its name. No test shows that: without Sync the file differs only
// after the power has failed.
func (f *diskFile) commit() error {
	err := f.file.Sync()
	if err == nil {
		err = f.root.Rename(f.temp, f.name)
	}
	if err == nil {
		err = syncDir(f.root, path.Dir(f.name))
	}
	if err == nil {
		err = errors.Join(f.file.Close(), f.root.Close())
	}
	if err != nil {
		return diskError("writing", f.where, err)
	}
	return nil
}

func (f *diskFile) abort() error {
	err := errors.Join(f.file.Close(), ignoreMissing(f.root.Remove(f.temp)), f.root.Close())
	if err != nil {
		return diskError("dropping what was written of", f.where, err)
	}
	return nil
}

// removeDisk removes a file, and no directory.
func removeDisk(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.IsDir() {
		return fmt.Errorf("removing %s: it is a directory: name a file in it", name)
	}
	if err == nil {
		err = os.Remove(name)
	}
	if err = ignoreMissing(err); err != nil {
		return diskError("removing", name, err)
	}
	return nil
}

// listDisk tells the files below base whose names begin with prefix.
func listDisk(base, prefix string) (locations []string, err error) {
	var names []string
	err = fs.WalkDir(os.DirFS(base), path.Dir(prefix+"x"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		if entry.Type().IsRegular() && strings.HasPrefix(name, prefix) && !strings.HasPrefix(entry.Name(), tempPrefix) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, diskError("listing", base, err)
	}
	slices.Sort(names) // the walk's order is that of each directory
	for _, name := range names {
		locations = append(locations, filepath.Join(base, filepath.FromSlash(name)))
	}
	return locations, nil
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
