package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// chunk is how many bytes of an object are asked for at a time. A job may read for hours at ten rows a second, and S3
// closes a connection that stands still: so none is kept, but a chunk is read at once.
const chunk = 8 << 20

// maxBroken connections in a row without a byte between them are an error.
const maxBroken = 3

// openObject begins to read an object.
func openObject(ctx context.Context, client S3, loc location, version string, offset int64) (*Reader, error) {
	o := &object{ctx: ctx, client: client, loc: loc, etag: version, size: -1, offset: offset}
	// At once, for the errors.
	if err := o.fill(); err != nil && err != io.EOF {
		return nil, err
	}
	return &Reader{ReadCloser: o, size: o.size, version: o.version}, nil
}

// object reads an object of S3 by ranges, all of one version.
type object struct {
	ctx    context.Context // of Open: the reader lives no longer than the call it was opened for
	client S3
	loc    location
	etag   string // empty until the first answer
	size   int64  // of the whole object; -1: unknown
	offset int64  // of the first byte that was not read yet
	buf    []byte // holds a chunk
	rest   []byte // of the chunk
}

func (o *object) version() (string, error) {
	if o.etag == "" { // an empty object
		return versionOfObject(o.ctx, o.client, o.loc)
	}
	return o.etag, nil
}

func (o *object) Read(p []byte) (int, error) {
	if len(o.rest) == 0 && len(p) > 0 {
		if err := o.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

func (o *object) Close() error { return nil }

// fill reads the next chunk, or what came of it before a connection broke; the rest is then the next one.
func (o *object) fill() error {
	for broken := 0; o.size < 0 || o.offset < o.size; {
		body, length, err := o.get()
		if err != nil {
			return err
		}
		if int64(cap(o.buf)) < length {
			o.buf = make([]byte, length)
		}
		n, err := io.ReadFull(body, o.buf[:length])
		err = errors.Join(err, body.Close())
		o.rest = o.buf[:n]
		o.offset += int64(n)
		if n > 0 || length == 0 {
			return nil
		}
		if broken++; o.ctx.Err() != nil || broken > maxBroken {
			return fmt.Errorf("reading %s after %d bytes: %w", o.loc, o.offset, err)
		}
	}
	return io.EOF
}

// get asks for the next chunk.
func (o *object) get() (body io.ReadCloser, length int64, err error) {
	in := &s3.GetObjectInput{Bucket: &o.loc.bucket, Key: &o.loc.key,
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", o.offset, o.offset+chunk-1))}
	if o.etag != "" {
		in.IfMatch = aws.String(`"` + o.etag + `"`)
	}
	out, err := o.client.GetObject(o.ctx, in)
	if err != nil {
		var answer interface{ HTTPStatusCode() int }
		if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusRequestedRangeNotSatisfiable {
			o.size = o.offset // it ends here or before
			return http.NoBody, 0, nil
		}
		return nil, 0, s3Error("reading", o.loc, "s3:GetObject", err)
	}
	length = aws.ToInt64(out.ContentLength)
	if o.etag = unquote(aws.ToString(out.ETag)); o.etag == "" {
		return nil, 0, errors.Join(fmt.Errorf("reading %s: %w", o.loc, errNoETag), out.Body.Close())
	}
	_, size, ranged := strings.Cut(aws.ToString(out.ContentRange), "/") // bytes 0-99/1234 (RFC 9110 section 14.4)
	o.size, err = strconv.ParseInt(size, 10, 64)
	if !ranged && o.offset == 0 { // an empty object may be answered so
		o.size, err = length, nil
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("reading %s: the answer is not the range asked for", o.loc), out.Body.Close())
	}
	return out.Body, min(length, chunk), nil
}

var errNoETag = errors.New("the answer has no ETag, so a change could not be noticed")

func versionOfObject(ctx context.Context, client S3, loc location) (string, error) {
	out, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &loc.bucket, Key: &loc.key})
	if err != nil {
		return "", s3Error("reading", loc, "s3:GetObject", err)
	}
	etag := unquote(aws.ToString(out.ETag))
	if etag == "" {
		return "", fmt.Errorf("reading %s: %w", loc, errNoETag)
	}
	return etag, nil
}

func removeObject(ctx context.Context, client S3, loc location) error {
	_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &loc.bucket, Key: &loc.key})
	if err != nil {
		return s3Error("removing", loc, "s3:DeleteObject", err)
	}
	return nil
}

// listObjects tells the objects below base whose names begin with prefix; S3 lists them in that order.
func listObjects(ctx context.Context, client S3, base location, prefix string) (locations []string, err error) {
	if base.key = strings.TrimSuffix(base.key, "/"); base.key != "" {
		prefix = base.key + "/" + prefix
	}
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &base.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s3Error("listing", base, "s3:ListBucket", err)
		}
		for _, object := range page.Contents {
			locations = append(locations, location{inS3: true, bucket: base.bucket, key: aws.ToString(object.Key)}.String())
		}
	}
	return locations, nil
}

func contentType(key string) string {
	switch path.Ext(key) {
	case ".gz":
		return "application/gzip"
	case ".zst":
		return "application/zstd"
	case ".ndjson", ".jsonl":
		return "application/x-ndjson"
	case ".json":
		return "application/json"
	case ".csv":
		return "text/csv"
	}
	return "application/octet-stream"
}

func unquote(etag string) string { return strings.Trim(etag, `"`) }

// s3Error says what an error of S3 means for this location and what to do about it. HeadObject has no body and so no
// better code than the status: "NotFound" and "Forbidden".
func s3Error(doing string, loc location, action string, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("%s %s: %w", doing, loc, err)
	}
	switch api.ErrorCode() {
	case "NoSuchBucket":
		return fmt.Errorf("%s %s: there is no bucket %q: check the name, and AWS_REGION: %w", doing, loc, loc.bucket, fs.ErrNotExist)
	case "NoSuchKey", "NotFound":
		return fmt.Errorf("%s %s: bucket %q has no object of that key, or does not exist itself: check both: %w", doing, loc, loc.bucket, fs.ErrNotExist)
	case "AccessDenied", "Forbidden":
		if action == "s3:ListBucket" {
			return fmt.Errorf("%s %s: %w: the role needs %s on arn:aws:s3:::%s, and nothing may deny it", doing, loc, fs.ErrPermission, action, loc.bucket)
		}
		return fmt.Errorf("%s %s: %w: the role needs %s on arn:aws:s3:::%s/%s, and nothing may deny it "+
			"(S3 answers the same for an object that is not there, unless the role has s3:ListBucket on the bucket)",
			doing, loc, fs.ErrPermission, action, loc.bucket, loc.key)
	case "PreconditionFailed":
		return fmt.Errorf("%s %s: %w: it is no longer the version asked for", doing, loc, ErrChanged)
	case "PermanentRedirect", "MovedPermanently", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return fmt.Errorf("%s %s: bucket %q is in another region: set AWS_REGION to it: %w", doing, loc, loc.bucket, err)
	}
	return fmt.Errorf("%s %s: %w", doing, loc, err)
}
