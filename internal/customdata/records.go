package customdata

import (
	"bytes"
	"fmt"
	"io"
)

// recordReader finds where records of CSV begin and end: at a line end that no quotes hold. It exists beside
// encoding/csv to keep a bad record as it came, to know its line, and to hold no more than one row's worth of it. It
// agrees with that package on the records (a fuzz test holds it to that).
type recordReader struct {
	lines *lineReader
	state quoteState
}

func newRecordReader(r io.Reader, from position) *recordReader {
	rr := &recordReader{lines: newLineReader(r, from)}
	rr.lines.piece = rr.state.feed
	return rr
}

// next returns a record that is not blank, and the line it begins on.
func (r *recordReader) next() (first int, raw []byte, long bool, err error) {
	for {
		r.state = fieldStart
		raw, long, err = r.lines.next()
		first = r.lines.at.Line
		if err != nil {
			return 0, nil, false, err
		}
		for r.state == quoted {
			more, moreLong, err := r.lines.next()
			if err == io.EOF {
				break // the record's own reading finds the quote that is missing
			}
			if err != nil {
				return 0, nil, false, err
			}
			if long || moreLong || len(raw)+len(more) > maxRow {
				// Everything after it is in doubt: rows could hide in it, or be made of it.
				return 0, nil, false, fmt.Errorf("a quote in the row that begins in line %d is not closed within %d bytes: "+
					"close it there, or double it if it is part of the text", first, maxRow)
			}
			raw = append(raw, more...)
		}
		if long || len(bytes.TrimSpace(raw)) > 0 {
			return first, raw, long, nil
		}
	}
}

// quoteState is where a reader of CSV stands.
type quoteState int

const (
	fieldStart    quoteState = iota
	unquoted                 // in a field without quotes
	quoted                   // a line end here is part of the field
	quoteInQuoted            // the field's end, or the first of two quotes
	broken                   // a quote stood where none may: the record is bad, and ends with the line
)

// feed moves on by the bytes of a piece of the file.
func (s *quoteState) feed(piece []byte) {
	for _, b := range piece {
		switch {
		case *s == broken:
			return
		case *s == quoted:
			if b == '"' {
				*s = quoteInQuoted
			}
		case b == ',':
			*s = fieldStart
		case b == '"':
			*s = afterQuote(*s)
		case *s == quoteInQuoted:
			*s = broken
		default:
			*s = unquoted
		}
	}
}

// afterQuote is the state after a quote that stands outside quotes, or right after one.
func afterQuote(s quoteState) quoteState {
	if s == unquoted {
		return broken
	}
	return quoted
}
