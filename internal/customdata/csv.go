package customdata

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// column is a custom-data key and how its cells are read.
type column struct {
	header string // as it stands in the file
	name   string
	kind   string // text, int, float, bool, json
}

// csvSource reads rows of CSV (RFC 4180).
type csvSource struct {
	records *recordReader
	key     logto.Key
	columns []column
}

const csvHeader = "the header's first column is one of " + keyNames + ", and the others are custom-data keys: " +
	"name for text, or name:int, name:float, name:bool, name:json"

// newCSV reads the header. A header that can't be used is an error: no row below it can be trusted.
func newCSV(r io.Reader) (*csvSource, error) {
	s := &csvSource{records: newRecordReader(r, position{})}
	line, raw, long, err := s.records.next()
	if err == io.EOF {
		return nil, fmt.Errorf("the CSV file is empty: %s", csvHeader)
	}
	if err != nil {
		return nil, err
	}
	var fields []string
	if long {
		err = errors.New(tooLong)
	} else {
		fields, err = splitRecord(raw)
	}
	if err == nil {
		err = s.header(fields)
	}
	if err != nil {
		return nil, fmt.Errorf("the CSV header in line %d: %w; %s", line, err, csvHeader)
	}
	return s, nil
}

// header reads the header's fields. Its errors tell columns by number: of a file without a header it would be a row.
func (s *csvSource) header(fields []string) error {
	s.key = logto.Key(fields[0])
	if !slices.Contains(rowKeys, s.key) {
		if len(fields) == 1 && strings.ContainsAny(fields[0], ";\t|") {
			return errors.New("it is one column: separate columns by commas")
		}
		return errors.New("the first column is none of the keys (has the file a header line?)")
	}
	if len(fields) == 1 {
		return errors.New("there is nothing to write: it has no second column")
	}
	seen := map[string]bool{}
	for i, field := range fields[1:] {
		name, kind, typed := strings.Cut(field, ":")
		if !typed {
			kind = "text"
		}
		switch {
		case !utf8.ValidString(field):
			return fmt.Errorf("column %d is not UTF-8: save the file as UTF-8", i+2)
		case name == "" || strings.TrimSpace(name) != name:
			return fmt.Errorf("column %d has no name or blanks around it", i+2)
		case typed && !slices.Contains([]string{"int", "float", "bool", "json"}, kind):
			return fmt.Errorf("column %d has an unknown type after its name", i+2)
		case seen[name]:
			return fmt.Errorf("column %d has the name of an earlier one", i+2)
		}
		seen[name] = true
		s.columns = append(s.columns, column{header: field, name: name, kind: kind})
	}
	return nil
}

func (s *csvSource) next() (entry, error) {
	line, raw, long, err := s.records.next()
	if err != nil {
		return entry{}, err
	}
	e := entry{line: line, end: s.records.lines.at, raw: raw, csv: true}
	if long {
		e.reason = tooLong
		return e, nil
	}
	if e.row, err = s.row(raw); err != nil {
		e.row, e.reason = row{}, err.Error()
	}
	return e, nil
}

func (s *csvSource) row(raw []byte) (row, error) {
	if !utf8.Valid(raw) {
		return row{}, errors.New("not UTF-8: save the file as UTF-8")
	}
	fields, err := splitRecord(raw)
	if err != nil {
		return row{}, err
	}
	if len(fields) != 1+len(s.columns) {
		return row{}, fmt.Errorf("it has %d fields and the header has %d: quote fields that hold a comma", len(fields), 1+len(s.columns))
	}
	if fields[0] == "" {
		return row{}, fmt.Errorf("column %q, which tells the user, is empty", s.key)
	}
	r := row{key: s.key, value: fields[0], data: map[string]any{}}
	for i, c := range s.columns {
		value, ok, err := c.value(fields[i+1])
		if err != nil {
			return row{}, fmt.Errorf("column %q: %w", c.header, err)
		}
		if ok {
			r.data[c.name] = value
		}
	}
	return r, r.check()
}

// isNumber tells whether a cell is a JSON number (RFC 8259 section 6) with nothing around it.
func isNumber(cell string) bool {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	return (cell[0] == '-' || digit(cell[0])) && digit(cell[len(cell)-1]) && json.Valid([]byte(cell))
}

// value reads a cell; ok is false if it leaves the key alone.
func (c column) value(cell string) (value any, ok bool, err error) {
	if cell == "" {
		return nil, false, nil
	}
	switch c.kind {
	case "text":
		return cell, true, nil
	case "int":
		if !isNumber(cell) || strings.ContainsAny(cell, ".eE") {
			return nil, false, errors.New("not a whole number as JSON writes it, such as -12")
		}
		return json.Number(cell), true, nil
	case "float":
		if !isNumber(cell) {
			return nil, false, errors.New("not a number as JSON writes it, such as 0.5, with a point and no blanks")
		}
		return json.Number(cell), true, nil
	case "bool":
		if cell != "true" && cell != "false" {
			return nil, false, errors.New("neither true nor false")
		}
		return cell == "true", true, nil
	default:
		// Valid first: what stands in the cell must be one value, not the rest of an object.
		if !json.Valid([]byte(cell)) {
			return nil, false, errors.New("not JSON: quote it by two quotes for each of its own")
		}
		object, err := logto.ParseCustomData([]byte(`{"value":` + cell + `}`))
		if err != nil {
			return nil, false, errors.New(explain(err))
		}
		return object["value"], true, nil
	}
}

// splitRecord takes one record apart.
func splitRecord(raw []byte) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = -1
	fields, err := r.Read()
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return nil, fmt.Errorf("not CSV: %w: put fields with quotes in quotes, and double those within", parse.Err)
	}
	return fields, err
}
