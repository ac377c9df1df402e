package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// File is a credentials file on disk, as m2m.FileCredentials reads it. It has one version, and a second one while a
// rotation is under way, in a file of the same name with .pending behind it. Whoever reads the file finds either the old
// credentials or the new ones, whole: it is replaced by a rename in its folder, which one must be able to write to. It is readable by
// its owner alone, who stays the same.
//
// Its secrets in Logto are told from those of other places by this machine's name and the path. Where these change, a container
// without a fixed name for one, the secrets of before are taken for other people's, and stay.
func File(path string) Place { return &file{path} }

type file struct{ path string }

const (
	pendingSuffix = ".pending"
	// versionField is where the file has its version. m2m.ParseCredentials leaves it to others.
	versionField = "version"
	// firstVersion is that of a file that nobody has rotated yet.
	firstVersion = "first"
	// largestFile is the size limit of a secret in Secrets Manager, too.
	largestFile = 64 << 10
)

// real is the path behind symbolic links: the file there is what is replaced, and not the link.
func (f *file) real() (string, error) {
	path, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return "", fmt.Errorf("credentials file: %w", err)
	}
	return filepath.Abs(path)
}

// State implements Place.
func (f *file) State(context.Context) (State, error) {
	path, err := f.real()
	if err != nil {
		return State{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return State{}, fmt.Errorf("credentials file %s: this machine's name, which tells it from others: %w", f.path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return State{}, fmt.Errorf("credentials file: %w", err)
	}
	id, err := versionOf(path)
	if err != nil {
		return State{}, fmt.Errorf("credentials file %s: %w", f.path, err)
	}
	s := State{
		Name: host + "-" + filepath.Base(path), ID: host + ":" + path, Changed: info.ModTime(),
		Versions: []Version{{ID: id, Labels: []string{Current}, Created: info.ModTime()}},
	}
	switch info, err := os.Stat(path + pendingSuffix); {
	case err == nil:
		id, err := versionOf(path + pendingSuffix)
		if err != nil {
			return State{}, fmt.Errorf("credentials file %s: %w", f.path+pendingSuffix, err)
		}
		s.Versions = append(s.Versions, Version{ID: id, Labels: []string{Pending}, Created: info.ModTime()})
		if info.ModTime().After(s.Changed) {
			s.Changed = info.ModTime()
		}
	case !errors.Is(err, fs.ErrNotExist):
		return State{}, fmt.Errorf("credentials file: %w", err)
	}
	return s, nil
}

// versionOf reads the version in a file.
func versionOf(path string) (string, error) {
	text, err := readFile(path)
	if err != nil {
		return "", err
	}
	var fields struct {
		Version string `json:"version"`
	}
	if json.Unmarshal(text, &fields) != nil { // the decoder's error may quote the secret
		return "", errors.New("it is not a JSON object of credentials")
	}
	if fields.Version == "" {
		return firstVersion, nil
	}
	return fields.Version, nil
}

func readFile(path string) (text []byte, err error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(opened, largestFile+1)); len(text) > largestFile {
		return nil, fmt.Errorf("it is larger than %d bytes", largestFile)
	}
	return text, err
}

// Read implements Place.
func (f *file) Read(_ context.Context, version string) ([]byte, error) {
	path, err := f.real()
	if err != nil {
		return nil, err
	}
	for _, candidate := range []string{path, path + pendingSuffix} {
		id, err := versionOf(candidate)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("credentials file %s: %w", candidate, err)
		}
		if id == version {
			return readFile(candidate)
		}
	}
	return nil, ErrNoValue
}

// Put implements Place.
func (f *file) Put(_ context.Context, version string, text []byte) error {
	path, err := f.real()
	if err != nil {
		return err
	}
	if text, err = replaced(text, versionField, version); err != nil {
		return err
	}
	if err := write(path, append(text, '\n')); err != nil {
		return fmt.Errorf("credentials file %s: %w", path+pendingSuffix, err)
	}
	return nil
}

// write writes the pending file of a credentials file, so that it is there whole or not at all.
func write(path string, text []byte) error {
	name := path + pendingSuffix + ".tmp"
	// One that is there was left by a process that died.
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = temporary.Write(text)
	if err == nil {
		err = keepOwner(path, temporary)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err := errors.Join(err, temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return rename(name, path+pendingSuffix)
}

// rename renames, dates the file by that, and makes sure that it is so after a power cut, too.
func rename(from, to string) error {
	now := time.Now()
	if err := os.Chtimes(from, now, now); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Promote implements Place.
func (f *file) Promote(ctx context.Context, version, from string) error {
	path, err := f.real()
	if err != nil {
		return err
	}
	s, err := f.State(ctx)
	if err != nil {
		return err
	}
	if s.labelled(Current) != from || s.labelled(Pending) != version {
		return fmt.Errorf("credentials file %s: somebody else replaced it meanwhile: see m2mjobs rotate status", f.path)
	}
	if err := rename(path+pendingSuffix, path); err != nil {
		return fmt.Errorf("credentials file: %w", err)
	}
	return nil
}

// Settle implements Place. There is nothing to do: what was pending is current by the same rename.
func (f *file) Settle(context.Context, string) error { return nil }
