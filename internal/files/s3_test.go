package files

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// bucket is as much of S3 over HTTP as this package uses.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	types   map[string]string
	ranges  []string
	refuse  string // the error code of every answer
	breakAt int    // bytes after which a download breaks; zero: never
	breaks  int    // how often
	onBreak func()
	parts   map[string]map[int][]byte // of the uploads that are under way, by their paths
	forget  bool                      // parts are not kept
	deny    string                    // the one kind of request that is refused, as METHOD?parameter
	lax     bool                      // checksums are not looked at
}

// multipart serves the requests of an upload in parts.
func (b *bucket) multipart(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		b.parts[r.URL.Path], b.types[r.URL.Path] = map[int][]byte{}, r.Header.Get("Content-Type")
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPut:
		if b.forget {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("ETag", `"forgotten"`)
			return
		}
		data, err := io.ReadAll(r.Body)
		number, err2 := strconv.Atoi(query.Get("partNumber"))
		if err := errors.Join(err, err2); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b.parts[r.URL.Path][number] = data
		w.Header().Set("ETag", etag(data))
	case r.Method == http.MethodPost:
		var data []byte
		for i := range len(b.parts[r.URL.Path]) {
			data = append(data, b.parts[r.URL.Path][i+1]...)
		}
		b.objects[r.URL.Path] = data
		delete(b.parts, r.URL.Path)
		fmt.Fprint(w, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
	case r.Method == http.MethodDelete:
		delete(b.parts, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	}
}

// list serves one name a page.
func (b *bucket) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var keys []string
	for path := range b.objects {
		key := strings.TrimPrefix(path, r.URL.Path+"/")
		if strings.HasPrefix(key, query.Get("prefix")) && key > query.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	fmt.Fprint(w, "<ListBucketResult>")
	if len(keys) > 0 {
		fmt.Fprintf(w, "<Contents><Key>%s</Key></Contents>", keys[0])
	}
	if len(keys) > 1 {
		fmt.Fprintf(w, "<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>", keys[0])
	}
	fmt.Fprint(w, "</ListBucketResult>")
}

func etag(data []byte) string { return fmt.Sprintf(`"v%x-%d"`, data[:min(4, len(data))], len(data)) }

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as asked</Message></Error>", code)
	}
	switch b.refuse {
	case "AccessDenied":
		refuse(http.StatusForbidden, b.refuse)
		return
	case "NoSuchBucket":
		refuse(http.StatusNotFound, b.refuse)
		return
	case "PermanentRedirect":
		refuse(http.StatusMovedPermanently, b.refuse)
		return
	}
	query := r.URL.Query()
	switch {
	case b.deny != "" && strings.HasPrefix(r.Method+"?"+r.URL.RawQuery, b.deny):
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		refuse(http.StatusForbidden, "AccessDenied")
		return
	case query.Has("uploads"), query.Has("uploadId"):
		b.multipart(w, r)
		return
	case query.Has("list-type"):
		b.list(w, r)
		return
	case r.Method == http.MethodDelete:
		delete(b.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method == http.MethodPut:
		data, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(http.StatusBadRequest, "IncompleteBody")
			return
		}
		if sum := md5.Sum(data); !b.lax && r.Header.Get("Content-MD5") != "" && r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) {
			refuse(http.StatusBadRequest, "BadDigest")
			return
		}
		b.objects[r.URL.Path], b.types[r.URL.Path] = data, r.Header.Get("Content-Type")
		w.Header().Set("ETag", etag(data))
		return
	}
	data, ok := b.objects[r.URL.Path]
	if !ok {
		refuse(http.StatusNotFound, "NoSuchKey")
		return
	}
	if match := r.Header.Get("If-Match"); match != "" && match != etag(data) {
		refuse(http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", etag(data))
	b.ranges = append(b.ranges, r.Header.Get("Range"))
	if r.Method == http.MethodGet && b.breaks > 0 {
		b.breaks--
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil {
			refuse(http.StatusBadRequest, "InvalidRange")
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
		w.WriteHeader(http.StatusPartialContent)
		if _, err := w.Write(data[from:min(len(data), from+b.breakAt)]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		if b.onBreak != nil {
			b.onBreak()
		}
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func inS3(t *testing.T) (*Files, *bucket) {
	t.Helper()
	b := &bucket{objects: map[string][]byte{}, types: map[string]string{}, parts: map[string]map[int][]byte{}}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	made := 0
	return New(func(context.Context) (S3, error) {
		if made++; made > 1 {
			t.Error("a second S3 client was made")
		}
		return s3.New(s3.Options{
			BaseEndpoint:     aws.String(server.URL),
			UsePathStyle:     true,
			Region:           "eu-north-1",
			RetryMaxAttempts: 1,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
			}),
		}), nil
	}), b
}

func TestObjectInS3IsWrittenAndReadByVersion(t *testing.T) {
	f, b := inS3(t)
	where, err := f.Put(t.Context(), "s3://shop/daily/", "customers/1997-03-24.ndjson", []byte("one\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "s3://shop/daily/customers/1997-03-24.ndjson"; where != want {
		t.Errorf("Put told %s, want %s", where, want)
	}
	if got := b.types["/shop/daily/customers/1997-03-24.ndjson"]; got != "application/x-ndjson" {
		t.Errorf("content type %q", got)
	}
	version, err := f.Version(t.Context(), where)
	if err != nil || strings.Contains(version, `"`) {
		t.Fatalf("version %s, %v", version, err)
	}
	if got := read(t, f, where, version); got != "one\n" {
		t.Errorf("read %q", got)
	}
	if _, err := f.Put(t.Context(), "s3://shop/daily", "customers/1997-03-24.ndjson", []byte("two!\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), where, version, 0); !errors.Is(err, ErrChanged) {
		t.Errorf("opening an old version: %v", err)
	}
	if got := read(t, f, where, ""); got != "two!\n" {
		t.Errorf("read %q", got)
	}
}

func TestSizeIsOfTheWholeFileWhereverReadingBegan(t *testing.T) {
	f, _ := inS3(t)
	for _, base := range []string{"s3://shop/daily", t.TempDir()} {
		where, err := f.Put(t.Context(), base, "rows.ndjson", []byte("one\ntwo\n"))
		if err != nil {
			t.Fatal(err)
		}
		for offset := range int64(9) {
			r, err := f.Open(t.Context(), where, "", offset)
			if err != nil {
				t.Fatal(err)
			}
			if r.Size() != 8 {
				t.Errorf("%s from byte %d: %d bytes", where, offset, r.Size())
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestBucketAloneIsABase(t *testing.T) {
	f, _ := inS3(t)
	where, err := f.Put(t.Context(), "s3://shop", "stats/1997-03-24.json", []byte("{}"))
	if err != nil || where != "s3://shop/stats/1997-03-24.json" {
		t.Errorf("Put told %s, %v", where, err)
	}
}

func TestBrokenDownloadGoesOnWhereItBroke(t *testing.T) {
	f, b := inS3(t)
	data := strings.Repeat("a row of some length\n", 10_000)
	b.objects["/shop/rows.ndjson"] = []byte(data)
	b.breakAt, b.breaks = 50_000, maxBroken+1 // more than may come in a row
	if got := read(t, f, "s3://shop/rows.ndjson", ""); got != data {
		t.Errorf("read %d bytes, want %d", len(got), len(data))
	}
	if len(b.ranges) != maxBroken+2 || b.ranges[1] == "" {
		t.Errorf("ranges %q", b.ranges)
	}
}

func TestBrokenDownloadDoesNotGoOnInAnotherFile(t *testing.T) {
	f, b := inS3(t)
	b.objects["/shop/rows.ndjson"] = []byte(strings.Repeat("old row\n", 20_000))
	b.breakAt, b.breaks = 50_000, 1
	b.onBreak = func() { b.objects["/shop/rows.ndjson"] = []byte(strings.Repeat("new row\n", 20_001)) }
	r, err := f.Open(t.Context(), "s3://shop/rows.ndjson", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, ErrChanged) || bytes.Contains(got, []byte("new")) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestDownloadThatOnlyBreaksIsAnError(t *testing.T) {
	f, b := inS3(t)
	b.objects["/shop/rows.ndjson"] = []byte("rows")
	b.breaks = 100
	if _, err := f.Open(t.Context(), "s3://shop/rows.ndjson", "", 0); err == nil || !strings.Contains(err.Error(), "reading s3://shop/rows.ndjson after 0 bytes") {
		t.Errorf("error %v", err)
	}
	if len(b.ranges) != 1+maxBroken {
		t.Errorf("%d requests", len(b.ranges))
	}
}

func TestErrorsOfS3SayWhatToDo(t *testing.T) {
	f, b := inS3(t)
	open := func() error { _, err := f.Open(t.Context(), "s3://shop/in/rows.csv", "", 0); return err }
	version := func() error { _, err := f.Version(t.Context(), "s3://shop/in/rows.csv"); return err }
	put := func() error { _, err := f.Put(t.Context(), "s3://shop/out", "a.json", nil); return err }
	remove := func() error { return f.Remove(t.Context(), "s3://shop/in/rows.csv") }
	list := func() error { _, err := f.List(t.Context(), "s3://shop/undo", ""); return err }
	for _, test := range []struct {
		refuse string
		do     func() error
		is     error
		want   []string
	}{
		{"", open, fs.ErrNotExist, []string{"s3://shop/in/rows.csv", `bucket "shop"`, "check both"}},
		{"", version, fs.ErrNotExist, []string{"s3://shop/in/rows.csv", `bucket "shop"`, "check both"}},
		{"NoSuchBucket", open, fs.ErrNotExist, []string{`there is no bucket "shop"`}},
		{"NoSuchBucket", put, fs.ErrNotExist, []string{"writing s3://shop/out/a.json", `there is no bucket "shop"`}},
		{"AccessDenied", open, fs.ErrPermission, []string{"s3:GetObject on arn:aws:s3:::shop/in/rows.csv"}},
		{"AccessDenied", version, fs.ErrPermission, []string{"s3:GetObject on arn:aws:s3:::shop/in/rows.csv"}},
		{"AccessDenied", put, fs.ErrPermission, []string{"s3:PutObject on arn:aws:s3:::shop/out/a.json"}},
		{"AccessDenied", remove, fs.ErrPermission, []string{"removing s3://shop/in/rows.csv", "s3:DeleteObject on arn:aws:s3:::shop/in/rows.csv"}},
		{"AccessDenied", list, fs.ErrPermission, []string{"listing s3://shop/undo", "s3:ListBucket on arn:aws:s3:::shop,"}},
		{"NoSuchBucket", list, fs.ErrNotExist, []string{"listing s3://shop/undo", `there is no bucket "shop"`}},
		{"PermanentRedirect", put, nil, []string{`bucket "shop" is in another region`, "AWS_REGION"}},
	} {
		b.refuse = test.refuse
		err := test.do()
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want it to say %q", test.refuse, err, want)
			}
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: error %v does not match %v", test.refuse, err, test.is)
		}
	}
}

func TestTryingToWriteIntoS3WritesNothing(t *testing.T) {
	f, b := inS3(t)
	try := func() error { return f.Try(t.Context(), "s3://shop/out", "a.json") }
	if err := try(); err != nil || len(b.objects) != 0 {
		t.Errorf("%v; %d objects", err, len(b.objects))
	}
	for refuse, want := range map[string]string{
		"AccessDenied":      "s3:PutObject on arn:aws:s3:::shop/out/a.json",
		"NoSuchBucket":      `there is no bucket "shop"`,
		"PermanentRedirect": "in another region",
	} {
		b.refuse = refuse
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want it to say %q", refuse, err, want)
		}
	}
	b.refuse, b.lax = "", true
	if err := try(); err == nil || !strings.Contains(err.Error(), "was not refused") {
		t.Errorf("a service that does not look at checksums: %v", err)
	}
}

func TestS3ClientIsMadeAgainAfterItCouldNotBe(t *testing.T) {
	calls := 0
	f := New(func(context.Context) (S3, error) {
		calls++
		return nil, errors.New("no credentials yet")
	})
	for range 2 {
		if _, err := f.Version(t.Context(), "s3://shop/a"); err == nil || !strings.Contains(err.Error(), "making the S3 client: no credentials yet") {
			t.Errorf("error %v", err)
		}
	}
	if calls != 2 {
		t.Errorf("made %d times", calls)
	}
}
