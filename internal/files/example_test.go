package files_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/m2mjobs/m2mjobs/internal/files"
)

// On disk nothing of AWS is needed, so newS3 may be nil where only paths are used.
func ExampleFiles() {
	ctx := context.Background()
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(base)
	f := files.New(nil)
	where, err := f.Put(ctx, base, "stats/1997-03-24.json", []byte(`{"orders":60}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	version, err := f.Version(ctx, where)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := f.Open(ctx, where, version, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	fmt.Println(filepath.Base(where), version[:15], string(data), err)
	// Output: 1997-03-24.json sha256:41cc06f6 {"orders":60} <nil>
}

// A file of any size is written as a stream, and read on from where an earlier reader stopped, of the same version.
func ExampleFiles_Create() {
	ctx := context.Background()
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(base)
	f := files.New(nil)
	w, err := f.Create(ctx, base, "rows.ndjson")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Abort() // nothing, after Close
	for i := range 3 {
		if _, err := fmt.Fprintf(w, "{\"id\":\"u%d\"}\n", i); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := w.Close(); err != nil { // now it is there
		fmt.Println(err)
		return
	}
	version, err := f.Version(ctx, w.Location())
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := f.Open(ctx, w.Location(), version, 12)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	_, err = io.Copy(os.Stdout, r)
	fmt.Println(err)
	// Output:
	// {"id":"u1"}
	// {"id":"u2"}
	// <nil>
}
