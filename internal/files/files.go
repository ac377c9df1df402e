// Package files reads and writes files of any size where a job finds its input and leaves its output: on disk or in S3.
//
// A location is a path, or s3://bucket/key. One Files serves both; it makes its S3 client at the first location in S3,
// so that a job that works on local files needs no AWS configuration and pays nothing for it:
//
//	f := files.New(func(ctx context.Context) (files.S3, error) {
//		c, err := config.LoadDefaultConfig(ctx)
//		if err != nil {
//			return nil, err
//		}
//		return s3.NewFromConfig(c), nil
//	})
//	where, err := f.Put(ctx, "s3://reports/daily", "stats/1997-03-24.json", data)
//
// A version identifies a file's content: the ETag of an object, the SHA-256 of a file on disk. Who reads a file in
// several attempts keeps the Reader's Version and how far it got, opens that version from there, and learns by
// ErrChanged that it is another file by now.
//
// No file is held in memory: Open reads 8 MiB at a time, Create writes 5 MiB at a time, and their user may take as
// long as it likes in between.
//
// Files that are written may hold personal data. On disk they can be read by their owner alone (0600, in directories
// of 0700), and they appear whole or not at all, on disk and in S3.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ErrChanged is matched by the error of Open when the file is no longer of the version asked for, and by that of reading
// when it changes meanwhile. Start over with what is there now.
var ErrChanged = errors.New("the file has changed")

// S3 is what is called of *s3.Client.
type S3 interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error)
	UploadPart(context.Context, *s3.UploadPartInput, ...func(*s3.Options)) (*s3.UploadPartOutput, error)
	CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error)
	AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	DeleteObject(context.Context, *s3.DeleteObjectInput, ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
}

// Files reads and writes files by location. It is safe for concurrent use.
type Files struct {
	newS3 func(context.Context) (S3, error)

	mu sync.Mutex
	s3 S3
}

// New makes a Files. newS3 is called at the first location in S3, and again at the next one if it failed. It may be
// nil where there is no S3: such locations are then refused.
func New(newS3 func(context.Context) (S3, error)) *Files {
	return &Files{newS3: newS3}
}

// Open opens a file for reading from a byte on, counted from 0; at the file's end or after it there is nothing to read.
// With a version it opens that very content, or fails with an error that matches ErrChanged; with an empty one, whatever
// there is. A file that is not there matches fs.ErrNotExist. Close the reader; it lives no longer than the context.
func (f *Files) Open(ctx context.Context, location, version string, offset int64) (*Reader, error) {
	if offset < 0 {
		return nil, fmt.Errorf("reading %s from byte %d: count from 0", location, offset)
	}
	loc, err := parse(location)
	if err != nil {
		return nil, err
	}
	if !loc.inS3 {
		return openDisk(loc.path, version, offset)
	}
	client, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	return openObject(ctx, client, loc, version, offset)
}

// Reader reads one version of a file. Its errors match ErrChanged when the file is another one by now.
type Reader struct {
	io.ReadCloser
	size    int64
	version func() (string, error)
}

// Size is how many bytes the whole file has, wherever the Reader began. Of a Reader that began at the file's end or after it, it
// may be where it began.
func (r *Reader) Size() int64 { return r.size }

// Version is the version of what is read, as Files.Version gives it. On disk it reads the whole file, which does not
// change where the Reader stands.
func (r *Reader) Version() (string, error) { return r.version() }

// Version identifies what stands in a file now: the ETag in S3 (one HEAD request; without quotes, as EventBridge gives
// it), "sha256:…" on disk, where a new modification time alone makes no new version.
func (f *Files) Version(ctx context.Context, location string) (string, error) {
	loc, err := parse(location)
	if err != nil {
		return "", err
	}
	if !loc.inS3 {
		return versionOnDisk(loc.path)
	}
	client, err := f.client(ctx)
	if err != nil {
		return "", err
	}
	return versionOfObject(ctx, client, loc)
}

// Put writes a file named name below base, a directory or s3://bucket/prefix, and tells its location. The name is a
// relative path with slashes; it can't leave base. A file of that name is replaced in one step: a reader sees the old
// one or the new one, also after a crash.
func (f *Files) Put(ctx context.Context, base, name string, data []byte) (where string, err error) {
	w, err := f.Create(ctx, base, name)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(data); err != nil {
		return "", errors.Join(err, w.Abort())
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return w.Location(), nil
}

// Remove removes a file. One that is not there is no error.
func (f *Files) Remove(ctx context.Context, location string) error {
	loc, err := parse(location)
	if err != nil {
		return err
	}
	if !loc.inS3 {
		return removeDisk(loc.path)
	}
	client, err := f.client(ctx)
	if err != nil {
		return err
	}
	return removeObject(ctx, client, loc)
}

// List tells the locations of the files below base whose names begin with prefix, such as undo/RUN/, in the order of
// their names. None, also where base is not there, is no error.
func (f *Files) List(ctx context.Context, base, prefix string) (locations []string, err error) {
	if dir := strings.TrimSuffix(prefix, "/"); prefix != "" && !validName(dir) {
		return nil, fmt.Errorf("listing %q: names begin with a relative path with slashes, without . and .., such as stats/", prefix)
	}
	loc, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	if !loc.inS3 {
		return listDisk(loc.path, prefix)
	}
	client, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	return listObjects(ctx, client, loc, prefix)
}

// client returns the one S3 client, made at the first call. The lock is held while it is made: the others need it too.
func (f *Files) client(ctx context.Context) (S3, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.s3 != nil {
		return f.s3, nil
	}
	if f.newS3 == nil {
		return nil, errors.New("locations in S3 can't be used here: name a path on disk")
	}
	client, err := f.newS3(ctx)
	if err != nil {
		return nil, fmt.Errorf("making the S3 client: %w", err)
	}
	f.s3 = client
	return client, nil
}

// location is a parsed location.
type location struct {
	inS3        bool
	bucket, key string
	path        string
}

// String returns the location as it is written.
func (l location) String() string {
	if l.inS3 {
		return "s3://" + strings.TrimSuffix(l.bucket+"/"+l.key, "/")
	}
	return l.path
}

// parse reads the location of a file.
func parse(s string) (location, error) {
	loc, err := parseBase(s)
	if err == nil && loc.inS3 && loc.key == "" {
		return location{}, fmt.Errorf("location %q names no object: write s3://bucket/key", s)
	}
	return loc, err
}

// parseBase reads the location of a directory: a bucket alone is one.
func parseBase(s string) (location, error) {
	if s == "" {
		return location{}, errors.New("the location is empty: name a path or s3://bucket/key")
	}
	scheme, rest, hasColon := strings.Cut(s, ":")
	rest, hasSlashes := strings.CutPrefix(rest, "//")
	switch {
	case !hasColon || strings.ContainsAny(scheme, `/\.`) || !hasSlashes && !looksLikeScheme(scheme):
		return location{path: s}, nil
	case scheme == "s3" && !hasSlashes:
		return location{}, fmt.Errorf("location %q: write s3://bucket/key, with two slashes", s)
	case scheme != "s3":
		return location{}, fmt.Errorf("location %q: only a path and s3://bucket/key are known; a path that begins so is written with ./ before it", s)
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return location{}, fmt.Errorf("location %q names no bucket: write s3://bucket/key", s)
	}
	return location{inS3: true, bucket: bucket, key: key}, nil
}

// looksLikeScheme tells whether what stands before a colon is the scheme of an address, such as s3 or https. A single
// letter is a drive.
func looksLikeScheme(s string) bool {
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	odd := func(r rune) bool { return !letter(r) && !(r >= '0' && r <= '9') }
	return len(s) > 1 && letter(rune(s[0])) && !strings.ContainsFunc(s, odd)
}

// validName tells whether name stays below the directory it is joined to.
func validName(name string) bool {
	if name == "" || name == "." || strings.ContainsAny(name, "\\\x00") {
		return false
	}
	return !strings.HasPrefix(name, "/") && path.Clean(name) == name && name != ".." && !strings.HasPrefix(name, "../")
}
