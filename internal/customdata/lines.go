package customdata

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	// maxRow bytes of a row are read; Logto takes no body of more than about 1 MB.
	maxRow = 1_100_000
	// keptOfLong bytes of a longer row are kept, to find it by.
	keptOfLong = 200
)

// position is where reading stands in a source, always after the end of a record: the same source is read on from there.
// A checkpoint has it.
type position struct {
	Offset int64 `json:"offset"` // in bytes of the text, decompressed; in rows of Params.Rows
	Line   int   `json:"line"`   // how many lines end before it
}

// lineReader reads lines of any length, and holds at most max bytes of one.
type lineReader struct {
	r  *bufio.Reader
	at position // after the last line
	// max bytes of a line are held.
	max int
	// piece, if set, sees every byte of every line, also of those that are too long to be held.
	piece func([]byte)
}

// newLineReader reads lines from a position on, where r stands already.
func newLineReader(r io.Reader, from position) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), at: from, max: maxRow}
}

// next returns a line with its line end, if it has one; of a line that is too long, the beginning. The slice is the
// caller's. After the last line the error is io.EOF.
func (l *lineReader) next() (line []byte, long bool, err error) {
	l.at.Line++
	for {
		part, err := l.r.ReadSlice('\n')
		begins := l.at.Offset == 0
		l.at.Offset += int64(len(part))
		if begins {
			part = bytes.TrimPrefix(part, []byte("\xef\xbb\xbf"))
		}
		if l.piece != nil {
			l.piece(part)
		}
		switch {
		case long:
		case len(line)+len(part) > l.max:
			long = true
			line = append(line, part...)[:keptOfLong:keptOfLong]
		default:
			line = append(line, part...)
		}
		switch {
		case err == nil:
			return line, long, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(line) > 0:
			return line, long, nil
		default:
			l.at.Line-- // there was none
			return nil, false, err
		}
	}
}
