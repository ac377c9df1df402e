//go:build !race

// The race detector makes these many times slower, and they are not about races: tools/test.sh runs them without it.

package customdata_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// bytesOf yields one byte for ever.
type bytesOf byte

func (b bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// bomb writes a file of a good row, one of size bytes and another good row, compressed.
func bomb(t *testing.T, name string, size int64) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var w io.WriteCloser = gzip.NewWriter(file)
	if strings.HasSuffix(name, ".zst") {
		if w, err = zstd.NewWriter(file); err != nil {
			t.Fatal(err)
		}
	}
	const good = `{"id":"u000","customData":{"a":1}}` + "\n"
	if _, err := io.Copy(w, io.MultiReader(strings.NewReader(good), io.LimitReader(bytesOf('x'), size), strings.NewReader("\n"+good))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRowOfAGigabyteInASmallArchiveIsRejectedInBoundedMemory(t *testing.T) {
	// gzip takes too long for a gigabyte here.
	for name, size := range map[string]int64{"bomb.ndjson.gz": 1 << 27, "bomb.ndjson.zst": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.users(1, nil)
			file := bomb(t, name, size)
			if info, err := os.Stat(file); err != nil || info.Size() > 2<<20 {
				t.Fatalf("the archive has %d bytes, %v", info.Size(), err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			report := s.sync(object{"source": file})
			runtime.ReadMemStats(&after)
			checkCounts(t, report, counts(3, 1, 1, 0, 0, 1))
			if kept := s.kept(report); len(kept) != 1 || kept[0].Line != 2 || !strings.HasPrefix(kept[0].Reason, "longer than 1100000 bytes") || len(kept[0].Row) > 1000 {
				t.Errorf("kept %.300v", kept)
			}
			// All that was allocated, garbage included: the row was never held.
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
				t.Errorf("%d MB were allocated", n>>20)
			}
		})
	}
}

func TestJSONNestedAMillionDeepIsRejectedWithAReason(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	deep := strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000)
	name := s.file("deep.ndjson", `{"id":"u000","customData":{"a":`+deep+`}}`+"\n"+strings.Repeat("[", 1_000_000)+"\n"+`{"id":"u000","customData":{"a":1}}`)
	report := s.sync(object{"source": name})
	checkCounts(t, report, counts(3, 1, 0, 0, 0, 2))
	for _, k := range s.kept(report) {
		if !strings.Contains(k.Reason, "nested deeper than 1000") && !strings.Contains(k.Reason, "not an object") {
			t.Errorf("line %d: %s", k.Line, k.Reason)
		}
	}
}
