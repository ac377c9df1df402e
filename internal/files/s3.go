package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// openObject begins to read an object.
func openObject(ctx context.Context, client S3, loc location, version string) (io.ReadCloser, error) {
	o := &object{ctx: ctx, client: client, loc: loc, etag: version, size: -1}
	if err := o.get(); err != nil {
		return nil, err
	}
	return o, nil
}

// object reads an object of S3. A job may read for minutes with pauses in between, and S3 closes a connection that
// stands still: the rest is then asked for anew, of the same version.
type object struct {
	ctx    context.Context // of Open: the reader lives no longer than the call it was opened for
	client S3
	loc    location
	etag   string // empty until the first answer
	size   int64  // of the whole object; -1: unknown
	offset int64
	broken int // connections that broke since the last byte
	body   io.ReadCloser
}

// maxBroken connections in a row without a byte between them are an error.
const maxBroken = 3

// get asks for the object from the offset on.
func (o *object) get() error {
	in := &s3.GetObjectInput{Bucket: &o.loc.bucket, Key: &o.loc.key}
	if o.etag != "" {
		in.IfMatch = aws.String(`"` + o.etag + `"`)
	}
	if o.offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", o.offset))
	}
	out, err := o.client.GetObject(o.ctx, in)
	if err != nil {
		return s3Error("reading", o.loc, "s3:GetObject", err)
	}
	o.body = out.Body
	o.etag = unquote(aws.ToString(out.ETag))
	if o.offset == 0 && out.ContentLength != nil {
		o.size = *out.ContentLength
	}
	return nil
}

func (o *object) Read(p []byte) (int, error) {
	for {
		n, err := o.body.Read(p)
		o.offset += int64(n)
		if n > 0 {
			o.broken = 0
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if o.ctx.Err() != nil || o.etag == "" || o.offset == o.size || o.broken == maxBroken {
			return n, fmt.Errorf("reading %s after %d bytes: %w", o.loc, o.offset, err)
		}
		o.broken++
		closing := o.body.Close()
		if err := o.get(); err != nil {
			o.body = http.NoBody
			return n, errors.Join(err, closing)
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (o *object) Close() error { return o.body.Close() }

func versionOfObject(ctx context.Context, client S3, loc location) (string, error) {
	out, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &loc.bucket, Key: &loc.key})
	if err != nil {
		return "", s3Error("reading", loc, "s3:GetObject", err)
	}
	etag := unquote(aws.ToString(out.ETag))
	if etag == "" {
		return "", fmt.Errorf("reading %s: the answer has no ETag, so a change could not be noticed", loc)
	}
	return etag, nil
}

func putObject(ctx context.Context, client S3, loc location, data []byte) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:      &loc.bucket,
		Key:         &loc.key,
		Body:        bytes.NewReader(data),
		ContentType: aws.String(contentType(loc.key)),
	})
	if err != nil {
		return s3Error("writing", loc, "s3:PutObject", err)
	}
	return nil
}

func contentType(key string) string {
	switch path.Ext(key) {
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
