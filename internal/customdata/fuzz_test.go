package customdata

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inOrder checks what must hold for any input: lines grow, and an entry is a row or has a reason, and can be kept.
func inOrder(t *testing.T, entries []entry) {
	t.Helper()
	for i, e := range entries {
		if i > 0 && e.line <= entries[i-1].line {
			t.Errorf("line %d after line %d", e.line, entries[i-1].line)
		}
		if (e.reason == "") != (e.row.key != "" && e.row.value != "" && e.row.data != nil) {
			t.Errorf("line %d is %+v with reason %q", e.line, e.row, e.reason)
		}
		if original := e.original(); !json.Valid(original) {
			t.Errorf("line %d can't be kept: %q", e.line, original)
		}
	}
}

// drain reads all entries, and tells of the error that ended them, if it was one.
func drain(s source) (entries []entry, err error) {
	for {
		e, err := s.next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
}

func FuzzNDJSON(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "\xef\xbb\xbf{\"id\":\"u\",\"customData\":{\"a\":1}}\r\n\r\nx", `{"id":"u","remove":["a"]}`,
		`{"primaryEmail":"a@x","customData":{"a":"\ud800"}}`, "{\"id\":\"u\",\"customData\":{\"a\":\"\xff\"}}",
		`{"id":"u","id":"v","customData":{}}`, `{"id":"u","customData":{"n":1e400}}`, "null\ntrue\n[]\n\"\"\n1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := drain(newNDJSON(strings.NewReader(string(data)), position{}))
		if err != nil {
			t.Fatal(err)
		}
		inOrder(t, entries)
		// Every line that is not blank is an entry, under its number.
		byLine := map[int]bool{}
		for _, e := range entries {
			byLine[e.line] = true
		}
		text := strings.TrimPrefix(string(data), "\xef\xbb\xbf")
		for i, line := range strings.Split(text, "\n") {
			if blank := strings.TrimSpace(line) == ""; byLine[i+1] == blank {
				t.Errorf("line %d, %q: an entry: %v", i+1, line, byLine[i+1])
			}
		}
	})
}

func FuzzCSV(f *testing.F) {
	for _, seed := range []string{
		"", "u,1\n", "u,\"a\nb\"\nv,2", "u,\"a\"b\nv,\"2", "u,5\" x\nv,6\" y\n", "\r\n \r\nu,\"\"\"\"\r\n", "u,\"a\"\r,\"\nv,1", ",\n,,\n",
		"u,\"a\r\nb\"\r\n", "u,a\r\rb\n", "\"\"", "\"a\" \nu,1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const header = "id,a\n"
		entries, err := drain(mustCSV(t, strings.NewReader(header+string(data))))
		if err != nil {
			if len(data) <= maxRow {
				t.Fatal(err)
			}
			return
		}
		inOrder(t, entries)
		// encoding/csv, reading the whole at once, finds the same records on the same lines.
		file := header + string(data)
		whole := csv.NewReader(strings.NewReader(file))
		whole.FieldsPerRecord = -1
		i := -1 // the header
		for {
			begin := whole.InputOffset()
			fields, err := whole.Read()
			if err == io.EOF {
				break
			}
			if strings.TrimSpace(file[begin:whole.InputOffset()]) == "" {
				continue // a line of blanks
			}
			if i++; i == 0 {
				continue
			}
			if i > len(entries) {
				t.Fatalf("record %d, %q, is missing", i, fields)
			}
			e := entries[i-1]
			if err != nil {
				if e.reason == "" {
					t.Errorf("line %d is a row, for encoding/csv it is not: %v", e.line, err)
				}
				continue
			}
			if line, _ := whole.FieldPos(0); line != e.line {
				t.Errorf("record %d is on line %d, want %d", i, e.line, line)
			}
			if e.reason != "" {
				continue
			}
			want := map[string]any{}
			if fields[1] != "" { // an empty cell leaves the key alone
				want["a"] = fields[1]
			}
			if e.row.value != fields[0] || !cmp.Equal(e.row.data, want) {
				t.Errorf("line %d: %q, %q, want %q", e.line, e.row.value, e.row.data, fields)
			}
		}
		if i != len(entries) {
			t.Errorf("%d entries, want %d", len(entries), i)
		}
	})
}
