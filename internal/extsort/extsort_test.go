package extsort_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/internal/extsort"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	var s extsort.Sorter
	var chunks []io.Reader
	for i, name := range []string{"eve", "bob", "ann", "bob"} {
		s.Add([]byte(name), []byte{byte('0' + i)})
		if i%2 == 1 {
			var file bytes.Buffer
			if err := s.Chunk(&file); err != nil {
				fmt.Println(err)
			}
			chunks = append(chunks, &file)
		}
	}
	for r, err := range extsort.Merge(chunks...) {
		fmt.Printf("%s %s %v\n", r.Key, r.Value, err)
	}
	// Output:
	// ann 2 <nil>
	// bob 1 <nil>
	// bob 3 <nil>
	// eve 0 <nil>
}

func TestAnyRecordsComeBackInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[abc\x00]{0,4}`)
		var s extsort.Sorter
		var want []string
		var chunks []io.Reader
		flush := func() {
			var file bytes.Buffer
			if err := s.Chunk(&file); err != nil {
				t.Fatal(err)
			}
			if s.Size() != 0 {
				t.Fatalf("%d bytes are left after a chunk", s.Size())
			}
			chunks = append(chunks, &file)
		}
		for range rapid.IntRange(0, 40).Draw(t, "records") {
			key, value := text.Draw(t, "key"), text.Draw(t, "value")
			s.Add([]byte(key), []byte(value))
			want = append(want, key+"="+value)
			if rapid.IntRange(0, 5).Draw(t, "flush") == 0 {
				flush()
			}
		}
		flush() // perhaps an empty one
		slices.SortStableFunc(want, func(a, b string) int {
			a, _, _ = strings.Cut(a, "=")
			b, _, _ = strings.Cut(b, "=")
			return strings.Compare(a, b)
		})
		var got []string
		for r, err := range extsort.Merge(chunks...) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(r.Key)+"="+string(r.Value))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestChunkThatIsDamagedEndsWithAnError(t *testing.T) {
	var s extsort.Sorter
	for i := range 1000 {
		s.Add(binary.BigEndian.AppendUint32(nil, uint32(i*7919)), []byte("value"))
	}
	var file bytes.Buffer
	if err := s.Chunk(&file); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"cut off": file.Bytes()[:file.Len()/2], "not one": []byte("records")} {
		var last error
		for _, err := range extsort.Merge(bytes.NewReader(data)) {
			last = err
		}
		if last == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestSorterKeepsItsRecordsWhenTheyCanNotBeWritten(t *testing.T) {
	var s extsort.Sorter
	s.Add([]byte("b"), nil)
	s.Add([]byte("a"), nil)
	if err := s.Chunk(full{}); err == nil {
		t.Fatal("no error")
	}
	var file bytes.Buffer
	if err := s.Chunk(&file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range extsort.Merge(&file) {
		n++
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
}

func TestReadingMayStopBeforeTheEnd(t *testing.T) {
	var s extsort.Sorter
	s.Add([]byte("a"), nil)
	s.Add([]byte("b"), nil)
	var file bytes.Buffer
	if err := s.Chunk(&file); err != nil {
		t.Fatal(err)
	}
	for r := range extsort.Merge(&file) {
		if string(r.Key) != "a" {
			t.Errorf("first is %q", r.Key)
		}
		break // goleak sees to the rest
	}
}
