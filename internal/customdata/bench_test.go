package customdata

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// typical is a row as the daily statistics of an order system have it.
const typical = `{"primaryEmail":"user123@example.com","customData":{"orders":{"asOf":"1997-03-24","count":3,"spent":12345,"last":"1997-03-24"}}}`

func BenchmarkParseRow(b *testing.B) {
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseRow([]byte(typical)); err != nil {
			b.Fatal(err)
		}
	}
}

// large writes a source of so many typical rows, one after the other.
func large(t testing.TB, name string, rows int) (source string) {
	t.Helper()
	source = filepath.Join(t.TempDir(), name)
	file, err := os.Create(source)
	if err != nil {
		t.Fatal(err)
	}
	var out io.WriteCloser = file
	switch filepath.Ext(name) {
	case ".gz":
		out = gzip.NewWriter(file)
	case ".zst":
		if out, err = zstd.NewWriter(file, zstd.WithEncoderConcurrency(1)); err != nil {
			t.Fatal(err)
		}
	}
	w := bufio.NewWriterSize(out, 1<<20)
	csv := strings.Contains(name, ".csv")
	if csv {
		fmt.Fprintln(w, "primaryEmail,orders:json,plan")
	}
	for i := range rows {
		if csv {
			fmt.Fprintf(w, `user%d@example.com,"{""asOf"":""1997-03-24"",""count"":%d,""spent"":%d}",gold`+"\n", i, i%9, i)
			continue
		}
		fmt.Fprintf(w, `{"primaryEmail":"user%d@example.com","customData":{"orders":{"asOf":"1997-03-24","count":%d,"spent":%d,"last":"1997-03-24"}}}`+"\n",
			i, i%9, i)
	}
	err = w.Flush()
	if out != io.WriteCloser(file) {
		err = errors.Join(err, out.Close())
	}
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return source
}

// readAll reads a source and tells how many rows it has and how many bytes the heap held at most: with its garbage, or
// without it if that is collected before every look.
func readAll(t testing.TB, source string, collect bool) (rows int, peak uint64) {
	t.Helper()
	s, err := local.open(t.Context(), Params{Source: source}, "", position{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	runtime.GC()
	for ; ; rows++ {
		if rows%500 == 0 && (!collect || rows%5000 == 0) {
			if collect {
				runtime.GC()
			}
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
		e, err := s.next()
		if err == io.EOF {
			return rows, peak
		}
		if err != nil || e.reason != "" {
			t.Fatalf("line %d: %s, %v", e.line, e.reason, err)
		}
	}
}

func TestReadingTakesNoMoreMemoryForMoreRows(t *testing.T) {
	for _, name := range []string{"rows.ndjson", "rows.csv.gz", "rows.ndjson.zst"} {
		_, few := readAll(t, large(t, name, 5_000), true)
		rows, many := readAll(t, large(t, name, 25_000), true)
		t.Logf("%s: %d KiB for 5,000 rows, %d KiB for 25,000", name, few>>10, many>>10)
		if rows != 25_000 || many > few+few/10 || many > 32<<20 {
			t.Errorf("%s: %d KiB for 5,000 rows, %d KiB for %d", name, few>>10, many>>10, rows)
		}
	}
}

// BenchmarkRead reads, unpacks and parses whole files, and reports the most that the heap held.
func BenchmarkRead(b *testing.B) {
	for _, name := range []string{"rows.ndjson", "rows.csv", "rows.ndjson.gz", "rows.ndjson.zst"} {
		for _, rows := range []int{100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", name, rows), func(b *testing.B) {
				source := large(b, name, rows)
				var peak uint64
				for b.Loop() {
					_, p := readAll(b, source, false)
					peak = max(peak, p)
				}
				b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*rows), "µs/row")
			})
		}
	}
}

// BenchmarkSkip goes on at the end of a compressed file of a million rows.
func BenchmarkSkip(b *testing.B) {
	for _, name := range []string{"rows.ndjson.gz", "rows.ndjson.zst"} {
		b.Run(name, func(b *testing.B) {
			source := large(b, name, 1_000_000)
			plain, err := os.Stat(large(b, strings.TrimSuffix(name, filepath.Ext(name)), 1_000_000))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if entries, _, err := entriesFrom(b.Context(), local, source, "", position{plain.Size(), 1_000_000}); len(entries) > 0 || err != nil {
					b.Fatalf("%d entries, %v", len(entries), err)
				}
			}
		})
	}
}
