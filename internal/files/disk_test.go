package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// local is a Files that must not need S3.
func local(t *testing.T) *Files {
	t.Helper()
	return New(func(context.Context) (S3, error) {
		t.Error("an S3 client was made for a path on disk")
		return nil, errors.New("no S3")
	})
}

func read(t *testing.T, f *Files, location, version string) string {
	t.Helper()
	r, err := f.Open(t.Context(), location, version, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFileOnDiskIsWrittenWholeAndForItsOwnerAlone(t *testing.T) {
	f, base := local(t), filepath.Join(t.TempDir(), "out")
	where, err := f.Put(t.Context(), base, "customers/1997-03-24.ndjson", []byte("one\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(base, "customers", "1997-03-24.ndjson"); where != want {
		t.Errorf("Put told %s, want %s", where, want)
	}
	if got := read(t, f, where, ""); got != "one\n" {
		t.Errorf("read %q", got)
	}
	modes := map[string]fs.FileMode{}
	for _, name := range []string{base, filepath.Dir(where), where} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		modes[name] = info.Mode()
	}
	want := map[string]fs.FileMode{base: fs.ModeDir | 0o700, filepath.Dir(where): fs.ModeDir | 0o700, where: 0o600}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("modes (-want +got):\n%s", diff)
	}
}

func TestPutReplacesAndLeavesNothingElseBehind(t *testing.T) {
	f, base := local(t), t.TempDir()
	old, err := f.Put(t.Context(), base, "a.json", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := f.Open(t.Context(), old, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put(t.Context(), base, "a.json", []byte("newer")); err != nil {
		t.Fatal(err)
	}
	// Who had the old file open still reads the old one to its end.
	data, err := io.ReadAll(reader)
	if err := errors.Join(err, reader.Close()); err != nil || string(data) != "old" {
		t.Errorf("read %q, %v", data, err)
	}
	if got := read(t, f, old, ""); got != "newer" {
		t.Errorf("read %q", got)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
}

func TestPutThatFailsLeavesNothingBehind(t *testing.T) {
	f, base := local(t), t.TempDir()
	if _, err := f.Put(t.Context(), base, "a/b.json", nil); err != nil {
		t.Fatal(err)
	}
	if where, err := f.Put(t.Context(), base, "a", []byte("x")); err == nil {
		t.Errorf("a directory was replaced by the file %s", where)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
}

func TestVersionOnDiskIsOfTheContent(t *testing.T) {
	f, name := local(t), filepath.Join(t.TempDir(), "rows.ndjson")
	write := func(s string) string {
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := f.Version(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first, again, other := write("rows"), write("rows"), write("ROWS")
	if first != again || first == other || !strings.HasPrefix(first, "sha256:") {
		t.Errorf("versions %s, %s, %s", first, again, other)
	}
	if got := read(t, f, name, other); got != "ROWS" {
		t.Errorf("read %q", got)
	}
	if _, err := f.Open(t.Context(), name, first, 0); !errors.Is(err, ErrChanged) {
		t.Errorf("opening an old version: %v", err)
	}
}

func TestNamesStayBelowTheBase(t *testing.T) {
	f, base := local(t), t.TempDir()
	for _, name := range []string{"", ".", "..", "../a", "a/../../b", "/a", "a//b", "a/", "./a", `a\b`, "a\x00b"} {
		if where, err := f.Put(t.Context(), base, name, nil); err == nil {
			t.Errorf("%q was written to %s", name, where)
		}
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	if where, err := f.Put(t.Context(), base, "link/a", nil); err == nil {
		t.Errorf("a symbolic link led to %s", where)
	}
}

func TestErrorsOnDiskSayWhatToDo(t *testing.T) {
	f, dir := local(t), t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(name string) error {
		_, err := f.Open(t.Context(), name, "", 0)
		return err
	}
	put := func(base string) error {
		_, err := f.Put(t.Context(), base, "a.json", []byte("x"))
		return err
	}
	for _, test := range []struct {
		err  error
		want []string
	}{
		{open(filepath.Join(dir, "none")), []string{"none", "check the path"}},
		{open(dir), []string{dir, "is a directory: name a file in it"}},
		{open(pipe), []string{pipe, "not a regular file"}},
		{open(""), []string{"name a path or s3://bucket/key"}},
		{open("https://example.com/rows.csv"), []string{"only a path and s3://bucket/key are known"}},
		{open("s3:/bucket/key"), []string{`"s3:/bucket/key"`, "write s3://bucket/key, with two slashes"}},
		{open("s3:bucket"), []string{"write s3://bucket/key"}},
		{open("https:/example.com/rows.csv"), []string{"only a path and s3://bucket/key are known", "./ before it"}},
		{open("file:rows.csv"), []string{"only a path and s3://bucket/key are known"}},
		{open("s3://bucket"), []string{"write s3://bucket/key"}},
		{open("s3:///key"), []string{"names no bucket"}},
		{put(file), []string{file, "a file stands where a directory is needed"}},
		{put(filepath.Join(file, "below")), []string{file, "a file stands where a directory is needed"}},
		{put(""), []string{"the location is empty"}},
		// What a test can't bring about without a disk of its own.
		{diskError("writing", "/out/a.json", syscall.ENOSPC), []string{"/out/a.json", "free some space"}},
		{diskError("writing", "/out/a.json", syscall.EROFS), []string{"/out/a.json", "/tmp"}},
		{diskError("reading", "/rows.csv", syscall.EACCES), []string{"/rows.csv", "permission"}},
	} {
		for _, want := range test.want {
			if test.err == nil || !strings.Contains(test.err.Error(), want) {
				t.Errorf("error %v, want it to say %q", test.err, want)
			}
		}
	}
	if err := open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestOnlyWhatLooksLikeASchemeIsRefused(t *testing.T) {
	for _, name := range []string{`C:\rows.csv`, "./rows:1.csv", "daily/rows:1.csv", "2026-11-24T03:00.csv", "rows.csv:old", ":rows"} {
		loc, err := parse(name)
		if err != nil || loc.path != name {
			t.Errorf("%q: path %q, %v", name, loc.path, err)
		}
	}
	if where, err := local(t).Put(t.Context(), "s3:/bucket", "a.json", nil); err == nil {
		t.Errorf("a directory %s was made", where)
	}
}

func TestWithoutS3ItsLocationsAreRefused(t *testing.T) {
	_, err := New(nil).Version(t.Context(), "s3://bucket/key")
	if err == nil || !strings.Contains(err.Error(), "name a path on disk") {
		t.Errorf("error %v", err)
	}
}
