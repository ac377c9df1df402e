package customdata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// opened is a source of rows that is to be closed.
type opened struct {
	source
	version string // of the file; empty for rows in the params
	close   func() error
}

// open opens where the rows come from.
func (c Config) open(ctx context.Context, p Params) (opened, error) {
	if p.Source == "" {
		return opened{source: &listSource{rows: p.Rows}, close: func() error { return nil }}, nil
	}
	read, err := reader(p.Source)
	if err != nil {
		return opened{}, err
	}
	version, err := c.Files.Version(ctx, p.Source)
	if err != nil {
		return opened{}, err
	}
	file, err := c.Files.Open(ctx, p.Source, version, 0)
	if err != nil {
		return opened{}, err
	}
	rows, err := read(file)
	if err != nil {
		return opened{}, errors.Join(fmt.Errorf("reading %s: %w", p.Source, err), file.Close())
	}
	return opened{source: rows, version: version, close: file.Close}, nil
}

// reader tells by its name how a file is read.
func reader(location string) (func(io.Reader) (source, error), error) {
	switch ext := strings.ToLower(path.Ext(location)); ext {
	case ".ndjson", ".jsonl":
		return func(r io.Reader) (source, error) { return newNDJSON(r), nil }, nil
	case ".csv":
		return newCSV, nil
	case ".json":
		return nil, fmt.Errorf("reading %s: rows stand one on a line: make it so (jq -c '.[]' for a list) and name it .ndjson", location)
	default:
		return nil, fmt.Errorf("reading %s: its name must end in .ndjson, .jsonl or .csv, which tells how to read it", location)
	}
}
