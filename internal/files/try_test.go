package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTryingToWriteOnDiskWritesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{
		dir:                              "",
		filepath.Join(dir, "new", "out"): "",
		file:                             "a file stands where a directory is needed",
		filepath.Join(file, "below"):     "a file stands where a directory is needed",
		"":                               "the location is empty",
		"s4://bucket":                    "only a path and s3://bucket/key are known",
	} {
		err := New(nil).Try(t.Context(), base, "stats/a.json")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", base, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}
