package customdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// opened is a source of rows that is to be closed.
type opened struct {
	source
	version string       // of the file; empty for rows in the params
	size    func() int64 // how many bytes the text has, or how many rows there are; zero: not known yet
	single  bool         // all rows are one batch
	close   func() error
}

// open opens where the rows come from, from the end of an entry on: what is before it is not read again, but the header
// of CSV and all of what is compressed, which is skipped. With a version it opens that one or fails with an error that
// matches files.ErrChanged, with an empty one what there is.
func (c Config) open(ctx context.Context, p Params, version string, from position) (opened, error) {
	if p.Source == "" {
		return opened{
			source: &listSource{rows: p.Rows, at: from},
			size:   func() int64 { return int64(len(p.Rows)) },
			single: isBatch(p.Rows),
			close:  func() error { return nil },
		}, nil
	}
	f, err := formatOf(p.Source)
	if err != nil {
		return opened{}, err
	}
	text, err := c.openText(ctx, p.Source, f.packed, version, from.Offset)
	if err != nil {
		return opened{}, err
	}
	rows, err := c.rows(ctx, p.Source, f, text, from)
	if err == nil {
		version, err = text.version()
	}
	if err != nil {
		return opened{}, errors.Join(err, text.Close())
	}
	return opened{source: rows, version: version, size: text.size, close: text.Close}, nil
}

// isBatch tells whether gather makes one batch of rows.
func isBatch(rows []json.RawMessage) bool {
	bytes := 0
	for _, r := range rows {
		bytes += len(r)
	}
	return len(rows) < logto.MaxUsersBy && bytes < maxBatchBytes
}

// rows reads rows of a text that stands at a position.
func (c Config) rows(ctx context.Context, location string, f format, text *text, from position) (_ source, err error) {
	if !f.csv {
		return newNDJSON(text, from), nil
	}
	if from.Offset == 0 {
		rows, err := newCSV(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", location, err)
		}
		return rows, nil
	}
	version, err := text.version()
	if err != nil {
		return nil, err
	}
	top, err := c.openText(ctx, location, f.packed, version, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	rows, err := newCSV(top)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", location, err)
	}
	rows.records = newRecordReader(text, from)
	return rows, nil
}

// format is how a file is read.
type format struct {
	csv    bool
	packed string // the extension of what it is compressed with; empty: it is not
}

// formatOf tells a file's format by its name.
func formatOf(location string) (f format, err error) {
	name := strings.ToLower(location)
	if ext := path.Ext(name); ext == ".gz" || ext == ".zst" {
		f.packed, name = ext, strings.TrimSuffix(name, ext)
	}
	switch path.Ext(name) {
	case ".ndjson", ".jsonl":
		return f, nil
	case ".csv":
		f.csv = true
		return f, nil
	case ".json":
		return format{}, fmt.Errorf("reading %s: rows stand one on a line: make it so (jq -c '.[]' for a list) and name it .ndjson", location)
	}
	return format{}, fmt.Errorf("reading %s: its name must end in .ndjson, .jsonl or .csv, each perhaps with .gz or .zst after it, "+
		"which tells how to read it", location)
}
