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

// lineReader reads lines of any length, and holds at most maxRow bytes of one.
type lineReader struct {
	r      *bufio.Reader
	number int // of the last line, from 1
	// piece, if set, sees every byte of every line, also of those that are too long to be held.
	piece func([]byte)
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns a line with its line end, if it has one; of a line that is too long, the beginning. The slice is the
// caller's. After the last line the error is io.EOF.
func (l *lineReader) next() (line []byte, long bool, err error) {
	l.number++
	for started := false; ; started = true {
		part, err := l.r.ReadSlice('\n')
		if l.number == 1 && !started {
			part = bytes.TrimPrefix(part, []byte("\xef\xbb\xbf"))
		}
		if l.piece != nil {
			l.piece(part)
		}
		switch {
		case long:
		case len(line)+len(part) > maxRow:
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
			return nil, false, err
		}
	}
}
