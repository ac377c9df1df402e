package customdata

import (
	"bufio"
	"compress/flate"
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
	if t.unpacked, err = unpack(packed, file); err != nil {
		return nil, errors.Join(t.explain(err), file.Close())
	}
	if _, err := io.CopyN(io.Discard, t, offset); err != nil {
		return nil, errors.Join(fmt.Errorf("skipping what is done already: %w", err), t.Close())
	}
	return t, nil
}

// maxWindow is how much of the text before it a piece of zstd may refer to, all of which is held in memory: what the
// command zstd uses up to level 19.
const maxWindow = 8 << 20

var errEmpty = errors.New("the archive is empty")

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

// explain says what to do about an archive that can't be read. What went wrong in reading the file itself has its own
// words; only an io.ErrUnexpectedEOF that nobody wrapped is the archive's.
func (t *text) explain(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case err == io.ErrUnexpectedEOF, err == errEmpty:
		return fmt.Errorf("reading %s: %w before the archive's end: it was cut off, or is still being written: write it again, whole", t.name, err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("reading %s: %w: it needs more than %d MiB of memory: compress it again without --long and --ultra",
			t.name, err, maxWindow>>20)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		return fmt.Errorf("reading %s: %w: it is not what its name says, or something else stands after the archive: name it by what it is, or compress it",
			t.name, err)
	case errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt), errors.Is(err, zstd.ErrCRCMismatch):
		return fmt.Errorf("reading %s: %w: the archive is damaged: write it again", t.name, err)
	}
	return fmt.Errorf("reading %s: %w", t.name, err)
}
