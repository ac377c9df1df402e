package function

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// StateVariable names the folder for what is remembered on this machine.
const StateVariable = "M2MJOBS_STATE"

// StateDir is the folder for what is remembered on this machine; empty if there is no place for it.
func (e Environment) StateDir() string {
	if dir := e[StateVariable]; dir != "" {
		return dir
	}
	if base := e["XDG_STATE_HOME"]; base != "" {
		return filepath.Join(base, "m2mjobs")
	}
	if home := e["HOME"]; home != "" {
		return filepath.Join(home, ".local", "state", "m2mjobs")
	}
	return ""
}

// keyBytes make AES-256.
const keyBytes = 32

// sealKey returns the function that reads the key with which what runs overwrote is encrypted on this machine, in a file beside
// the runs and away from the output, and makes it at first. Nil in S3, which encrypts by itself, and where an output on disk is
// as short-lived as the process.
func (e Environment) sealKey(output string) func() ([]byte, error) {
	dir := e.StateDir()
	if strings.HasPrefix(output, "s3:") || e["AWS_LAMBDA_FUNCTION_NAME"] != "" || dir == "" {
		return nil
	}
	name := filepath.Join(dir, "undo.key")
	return func() ([]byte, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := makeKey(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("making the key for what runs overwrite: %w", err)
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%s can be read by others: chmod 600 %s", name, name)
		}
		key, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if len(key) != keyBytes {
			return nil, fmt.Errorf("%s is not a key of %d bytes: what was kept with another can't be read; remove it to go on without that", name, keyBytes)
		}
		return key, nil
	}
}

// makeKey writes a new key, whole or not at all, unless there is one.
func makeKey(name string) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fs.ErrExist
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".key-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	key := make([]byte, keyBytes)
	rand.Read(key) // never fails (crypto/rand)
	if _, err := file.Write(key); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), name) // unlike a rename it replaces nothing
}
