package customdata

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/m2mjobs/m2mjobs/internal/files"
)

// text is the text of a source, decompressed where it is compressed.
type text struct {
	file     *files.Reader
	unpacked io.ReadCloser // nil: the file is the text
	packed   *bufio.Reader // what is unpacked
	name     string
	failed   error        // of reading the file
	taken    int64        // bytes of the file that were read
	used     int64        // of them, that were unpacked
	given    int64        // bytes of the text that were read
	estimate atomic.Int64 // of the text's bytes in all
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
	t.packed = bufio.NewReaderSize(packedFile{t}, 64<<10)
	if t.unpacked, err = unpack(packed, t.packed); err != nil {
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
func unpack(packed string, in *bufio.Reader) (io.ReadCloser, error) {
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

// size is how many bytes the text has. Of what is compressed it is an estimate, which is exact at its end; zero: there is none yet.
func (t *text) size() int64 {
	if t.unpacked == nil {
		return t.file.Size()
	}
	return t.estimate.Load()
}

func (t *text) Read(p []byte) (int, error) {
	if t.unpacked == nil {
		return t.file.Read(p)
	}
	// A block is taken whole and given in pieces: how much text it was is known when the next one is taken, up to a piece.
	n, err := t.unpacked.Read(p[:min(len(p), 8<<10)])
	if used := t.taken - int64(t.packed.Buffered()); used > t.used {
		if t.used > 0 {
			t.estimate.Store(int64(float64(t.given) * float64(t.file.Size()) / float64(t.used)))
		}
		t.used = used
	}
	if t.given += int64(n); err == io.EOF {
		t.estimate.Store(t.given)
	}
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
	f.taken += int64(n)
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
