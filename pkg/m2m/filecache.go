package m2m

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// FileCache is a TokenCache in a directory, for programs that start often on one machine, such as cron jobs and commands: one
// that starts every minute would cost 43,000 tokens a month. The directory is made if there is none, readable by its owner
// alone; it has a file for each kind of token, and is tidied up by itself. It must not be shared over a network.
func FileCache(directory string) TokenCache { return fileCache(directory) }

type fileCache string

// maxEntry is how much of a file is read: a sealed token has some 800 bytes.
const maxEntry = 64 << 10

// Load implements TokenCache.
func (d fileCache) Load(_ context.Context, name string) ([]byte, error) { return d.read(name) }

// read returns a file's content, nil if there is no such file.
func (d fileCache) read(name string) ([]byte, error) {
	opened, err := os.Open(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return readLimited(opened, maxEntry)
}

// Lease implements TokenCache.
func (d fileCache) Lease(_ context.Context, name string, now, until time.Time) (bool, error) {
	lease := filepath.Join(string(d), name+".lease")
	mine, err := d.write(name, strconv.AppendInt(nil, until.UnixMilli(), 10), until)
	if err != nil {
		return false, err
	}
	defer os.Remove(mine)
	// A link appears with its content, or not at all if the name is taken.
	if err := os.Link(mine, lease); err == nil || !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	held, err := d.read(name + ".lease")
	if err != nil {
		return false, err
	}
	end, err := strconv.ParseInt(string(held), 10, 64)
	if err == nil && end > now.UnixMilli() && end <= now.Add(time.Minute).UnixMilli() {
		return false, nil
	}
	return true, os.Rename(mine, lease)
}

// Store implements TokenCache.
func (d fileCache) Store(_ context.Context, name string, data []byte, now, end time.Time) error {
	written, err := d.write(name, data, end)
	if err != nil {
		return err
	}
	if err := os.Rename(written, filepath.Join(string(d), name)); err != nil {
		return errors.Join(err, os.Remove(written))
	}
	return d.tidy(now.Add(-time.Hour))
}

// write writes a file beside the one of that name, dated by its end, and returns its path.
func (d fileCache) write(name string, data []byte, end time.Time) (path string, err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(string(d), name+".*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Chtimes(file.Name(), end, end)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("writing %s: %w", file.Name(), err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// tidy removes what ended before then: tokens of secrets that were replaced, and what a process that was killed left.
func (d fileCache) tidy(then time.Time) error {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry.Name(), ".")
		info, err := entry.Info()
		if _, foreign := hex.DecodeString(name); foreign != nil || len(name) != 2*sha256.Size || err != nil || !info.ModTime().Before(then) {
			continue
		}
		if err := os.Remove(filepath.Join(string(d), entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
