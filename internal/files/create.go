package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// Create begins to write a file of any size, named and placed as Put does. It appears, whole, when Close returns without
// an error, and not at all otherwise. In S3 it may have 48 GiB; it lives no longer than the context there.
func (f *Files) Create(ctx context.Context, base, name string) (*Writer, error) {
	if !validName(name) {
		return nil, fmt.Errorf("writing %q: a file's name is a relative path with slashes, without . and .., such as stats/1997-03-24.json", name)
	}
	loc, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	if !loc.inS3 {
		where, file, err := createDisk(loc.path, name)
		if err != nil {
			return nil, err
		}
		return newWriter(where, file), nil
	}
	client, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	loc.key = path.Join(loc.key, name)
	return newWriter(loc.String(), &upload{ctx: ctx, client: client, loc: loc}), nil
}

// Writer writes one file. Whoever made it calls Close or Abort; Abort after Close does nothing, so that it can be
// deferred. It is not safe for concurrent use.
type Writer struct {
	where string
	buf   *bufio.Writer // remembers the first error
	file  unfinished
	done  bool
}

// unfinished is a file that is not there yet. After a commit that failed, abort is called.
type unfinished interface {
	io.Writer
	commit() error
	abort() error
}

func newWriter(where string, file unfinished) *Writer {
	return &Writer{where: where, buf: bufio.NewWriterSize(file, 64<<10), file: file}
}

// Location is where the file stands after Close, as Open takes it.
func (w *Writer) Location() string { return w.where }

// Write implements io.Writer. After an error there is nothing left but Close or Abort, which then both drop the file.
func (w *Writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fmt.Errorf("writing %s: %w", w.where, fs.ErrClosed)
	}
	return w.buf.Write(p)
}

// Close makes the file appear. If it can't, or a Write could not, what was written is dropped, and a file that was there
// before stands as it was.
func (w *Writer) Close() error {
	if w.done {
		return fmt.Errorf("closing %s: %w", w.where, fs.ErrClosed)
	}
	err := w.buf.Flush()
	if err == nil {
		err = w.file.commit()
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	w.done = true
	return nil
}

// Abort drops what was written. An error says what is left behind.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return w.file.abort()
}
