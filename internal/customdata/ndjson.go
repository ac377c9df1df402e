package customdata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// ndjsonSource reads rows that stand one on a line.
type ndjsonSource struct {
	lines *lineReader
}

func newNDJSON(r io.Reader, from position) source { return &ndjsonSource{newLineReader(r, from)} }

func (s *ndjsonSource) next() (entry, error) {
	for {
		line, long, err := s.lines.next()
		if err != nil {
			return entry{}, err
		}
		e := entry{line: s.lines.at.Line, end: s.lines.at, raw: line}
		if long {
			e.reason = tooLong
			return e, nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e.parse(line)
		return e, nil
	}
}

var tooLong = fmt.Sprintf("longer than %d bytes: Logto takes no more than about 1 MB of custom data; only the beginning is kept here", maxRow)

// parse fills in the row, or the reason why it is none.
func (e *entry) parse(raw []byte) {
	var err error
	if e.row, err = parseRow(raw); err != nil {
		e.row, e.reason = row{}, err.Error()
	}
}

// listSource yields the rows of Params.Rows, numbered from 1.
type listSource struct {
	rows []json.RawMessage
	at   position
}

func (s *listSource) next() (entry, error) {
	if s.at.Line == len(s.rows) {
		return entry{}, io.EOF
	}
	s.at.Line++
	s.at.Offset++
	e := entry{line: s.at.Line, end: s.at, raw: s.rows[s.at.Line-1]}
	e.parse(e.raw)
	return e, nil
}
