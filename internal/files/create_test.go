package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// places are where files can be, and what stands there besides the files: temporary files, or parts of an upload.
func places(t *testing.T) map[string]struct {
	*Files
	base  string
	waste func() int
} {
	inS3, bucket := inS3(t)
	dir := t.TempDir()
	return map[string]struct {
		*Files
		base  string
		waste func() int
	}{
		"disk": {local(t), dir, func() int {
			found, err := filepath.Glob(filepath.Join(dir, "*", tempPrefix+"*"))
			if err != nil {
				t.Error(err)
			}
			return len(found)
		}},
		"S3": {inS3, "s3://shop/out", func() int { return len(bucket.parts) }},
	}
}

// lines are rows of 16 bytes, each with its number.
func lines(n int) []byte {
	data := bytes.Repeat([]byte("row 00000000000\n"), n)
	for i := range n {
		for at, rest := i*16+14, i; rest > 0; at, rest = at-1, rest/10 {
			data[at] += byte(rest % 10)
		}
	}
	return data
}

func TestFileOfAnySizeAppearsWholeWhenItIsClosed(t *testing.T) {
	for where, place := range places(t) {
		for name, data := range map[string][]byte{
			"undo/empty.ndjson": nil, "undo/small.ndjson": lines(10), "undo/large.ndjson": lines(partSize/16*2 + 7), "undo/two.ndjson": lines(partSize / 16 * 2),
		} {
			w, err := place.Create(t.Context(), place.base, name)
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0; rest = rest[min(1<<20, len(rest)):] {
				if _, err := w.Write(rest[:min(1<<20, len(rest))]); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := place.Open(t.Context(), w.Location(), "", 0); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: it is there before it is closed: %v", where, name, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, place.Files, w.Location(), ""); got != string(data) {
				t.Errorf("%s, %s: read %d bytes of %d", where, name, len(got), len(data))
			}
			if err := w.Abort(); err != nil {
				t.Errorf("%s, %s: Abort after Close: %v", where, name, err)
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s, %s: Write after Close: %v", where, name, err)
			}
			if err := w.Close(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s, %s: Close after Close: %v", where, name, err)
			}
		}
		if n := place.waste(); n > 0 {
			t.Errorf("%s: %d temporary files or uploads are left", where, n)
		}
	}
}

func TestFileThatIsGivenUpWasNeverThere(t *testing.T) {
	for where, place := range places(t) {
		old, err := place.Put(t.Context(), place.base, "undo/a.ndjson", []byte("old"))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 10, partSize / 16 * 3} {
			w, err := place.Create(t.Context(), place.base, "undo/a.ndjson")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(lines(size)); err != nil {
				t.Fatal(err)
			}
			if err := w.Abort(); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			if err := w.Close(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s: Close after Abort: %v", where, err)
			}
		}
		if got := read(t, place.Files, old, ""); got != "old" {
			t.Errorf("%s: read %.20q", where, got)
		}
		if n := place.waste(); n > 0 {
			t.Errorf("%s: %d temporary files or uploads are left", where, n)
		}
	}
}

func TestUploadThatFailsIsToldAndDropped(t *testing.T) {
	f, b := inS3(t)
	for _, test := range []struct{ deny, want string }{
		{"PUT?partNumber=2", "writing s3://shop/out/a.ndjson: permission denied: the role needs s3:PutObject on arn:aws:s3:::shop/out/a.ndjson"},
		{"POST?uploads", "the role needs s3:PutObject on arn:aws:s3:::shop/out/a.ndjson"},
		{"POST?uploadId", "the role needs s3:PutObject on arn:aws:s3:::shop/out/a.ndjson"},
	} {
		b.deny = test.deny
		w, err := f.Create(t.Context(), "s3://shop/out", "a.ndjson")
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err = w.Write(lines(1 << 16)); err != nil {
				break
			}
		}
		if closing := w.Close(); err == nil {
			err = closing
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("without %s: error %v", test.deny, err)
		}
		if len(b.objects) > 0 || len(b.parts) > 0 {
			t.Errorf("without %s: %d objects, %d uploads are left", test.deny, len(b.objects), len(b.parts))
		}
	}
	b.deny = "DELETE?"
	w, err := f.Create(t.Context(), "s3://shop/out", "a.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(lines(1 << 20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err == nil || !strings.Contains(err.Error(), "the role needs s3:AbortMultipartUpload") {
		t.Errorf("Abort: %v", err)
	}
}

func TestUploadEndsWithItsContextAndIsDropped(t *testing.T) {
	f, b := inS3(t)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := f.Create(ctx, "s3://shop/out", "a.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(lines(1 << 20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(b.objects) > 0 || len(b.parts) > 0 {
		t.Errorf("%d objects, %d uploads are left", len(b.objects), len(b.parts))
	}
}

func TestFileIsReadFromAnyByteOn(t *testing.T) {
	data := lines(chunk/16 + 100) // more than a chunk
	for where, place := range places(t) {
		name, err := place.Put(t.Context(), place.base, "rows.ndjson", data)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := place.Open(t.Context(), name, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		version, err := whole.Version()
		if err := errors.Join(err, whole.Close()); err != nil {
			t.Fatal(err)
		}
		if want, err := place.Version(t.Context(), name); err != nil || version != want {
			t.Errorf("%s: version %s, want %s, %v", where, version, want, err)
		}
		for _, offset := range []int{0, 1, 16, chunk - 1, chunk, chunk + 1, len(data) - 1, len(data), len(data) + 1} {
			r, err := place.Open(t.Context(), name, version, int64(offset))
			if err != nil {
				t.Fatalf("%s from %d: %v", where, offset, err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data[min(offset, len(data)):]) {
				t.Errorf("%s from %d: %d bytes, %v", where, offset, len(got), err)
			}
		}
		if _, err := place.Open(t.Context(), name, version, -1); err == nil || !strings.Contains(err.Error(), "count from 0") {
			t.Errorf("%s from -1: %v", where, err)
		}
	}
}

func TestFileOnDiskThatIsWrittenToWhileItIsReadIsNotReadOn(t *testing.T) {
	f := local(t)
	name, err := f.Put(t.Context(), t.TempDir(), "rows.ndjson", lines(1000))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open(t.Context(), name, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, lines(1001), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 16)); n > 0 || !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), name) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestFilesAreListedInOrderAndRemoved(t *testing.T) {
	for where, place := range places(t) {
		if found, err := place.List(t.Context(), place.base+"/none", ""); err != nil || len(found) > 0 {
			t.Errorf("%s: nothing: %q, %v", where, found, err)
		}
		for _, name := range []string{"undo/r1/00002.ndjson", "undo/r1/00001.ndjson", "undo/r1/more/a", "undo/r1-b/a", "undo/r2/a", "other"} {
			if _, err := place.Put(t.Context(), place.base, name, nil); err != nil {
				t.Fatal(err)
			}
		}
		list := func(prefix string) (names []string) {
			found, err := place.List(t.Context(), place.base, prefix)
			if err != nil {
				t.Error(err)
			}
			for _, location := range found {
				names = append(names, strings.TrimPrefix(filepath.ToSlash(location), place.base+"/"))
			}
			return names
		}
		for prefix, want := range map[string][]string{
			"undo/r1/":     {"undo/r1/00001.ndjson", "undo/r1/00002.ndjson", "undo/r1/more/a"},
			"undo/r1":      {"undo/r1-b/a", "undo/r1/00001.ndjson", "undo/r1/00002.ndjson", "undo/r1/more/a"},
			"undo/r3/":     nil,
			"":             {"other", "undo/r1-b/a", "undo/r1/00001.ndjson", "undo/r1/00002.ndjson", "undo/r1/more/a", "undo/r2/a"},
			"undo/r1/0000": {"undo/r1/00001.ndjson", "undo/r1/00002.ndjson"},
		} {
			if diff := cmp.Diff(want, list(prefix)); diff != "" {
				t.Errorf("%s, %q (-want +got):\n%s", where, prefix, diff)
			}
		}
		if _, err := place.List(t.Context(), place.base, "../"); err == nil {
			t.Errorf("%s: what is above the base was listed", where)
		}
		for range 2 { // the second time it is not there
			if err := place.Remove(t.Context(), place.base+"/other"); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
		if left := list("oth"); len(left) > 0 {
			t.Errorf("%s: %q is left", where, left)
		}
	}
	if err := local(t).Remove(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "it is a directory") {
		t.Errorf("removing a directory: %v", err)
	}
}

func TestUploadHoldsOnePartAtMost(t *testing.T) {
	f, b := inS3(t)
	b.forget = true
	w, err := f.Create(t.Context(), "s3://shop/out", "large.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	data := lines(1 << 16)
	var peak uint64
	for i := range 60 { // MiB
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			runtime.GC()
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if peak > 32<<20 {
		t.Errorf("%d MiB were held at once", peak>>20)
	}
}
