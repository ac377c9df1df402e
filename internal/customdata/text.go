package customdata

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/m2mjobs/m2mjobs/internal/files"
)

// text is the text of a source, decompressed where it is compressed.
type text struct {
	file     *files.Reader
	unpacked io.ReadCloser // nil: the file is the text
	name     string
	failed   error // of reading the file
}

// openText opens a source's text from an offset on. What is before it of a compressed one is read and dropped: neither
// gzip nor zstd can be entered in the middle.
func (c Config) openText(ctx context.Context, location, packed, version string, offset int64) (*text, error) {
	at := offset
	if packed != "" {
		at = 0
	}
	file, err := c.Files.Open(ctx, location, version, at)
	if err != nil {
		return nil, err
	}
	t := &text{file: file, name: location}
	if packed == "" {
		return t, nil
	}
	if t.unpacked, err = unpack(packed, packedFile{t}); err != nil {
		return nil, errors.Join(t.explain(err), file.Close())
	}
	if n, err := io.CopyN(io.Discard, t, offset); err != nil {
		return nil, errors.Join(fmt.Errorf("skipping what is done of %s already, %d of %d bytes: %w", location, n, offset, err), t.Close())
	}
	return t, nil
}

// maxWindow is how much of the text before it a piece of zstd may refer to, all of which is held in memory: what the
// command zstd uses up to level 19.
const maxWindow = 8 << 20

var errEmpty = errors.New("there is nothing in it")

// unpack decompresses. An archive may have several parts, one after the other, and its text any size: it is never held.
func unpack(packed string, r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if _, err := in.Peek(1); err == io.EOF {
		return nil, errEmpty // zstd would take it for an empty text
	}
	if packed == ".gz" {
		return gzip.NewReader(in)
	}
	// Concurrency 1 starts no goroutines.
	dec, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return dec.IOReadCloser(), nil
}

func (t *text) version() (string, error) { return t.file.Version() }

func (t *text) Read(p []byte) (int, error) {
	if t.unpacked == nil {
		return t.file.Read(p)
	}
	n, err := t.unpacked.Read(p)
	if err != nil && err != io.EOF {
		err = t.explain(err)
	}
	return n, err
}

func (t *text) Close() error {
	if t.unpacked == nil {
		return t.file.Close()
	}
	return errors.Join(t.unpacked.Close(), t.file.Close())
}

// packedFile is the file below a text.
type packedFile struct{ *text }

func (f packedFile) Read(p []byte) (int, error) {
	n, err := f.file.Read(p)
	if err != nil && err != io.EOF {
		f.failed = err
	}
	return n, err
}

// explain says what to do about an archive that can't be read. That the file could not be read has its own words.
func (t *text) explain(err error) error {
	mend := "the archive is damaged: write it again"
	switch {
	case t.failed != nil:
		return t.failed
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errEmpty):
		mend = "the archive was cut off, or is still being written: write it again, whole"
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		mend = fmt.Sprintf("it needs more than %d MiB of memory: compress it again without --long and --ultra", maxWindow>>20)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		mend = "it is not what its name says, or something else stands after the archive: name it by what it is, or compress it"
	}
	return fmt.Errorf("reading %s: %w (%s)", t.name, err, mend)
}
