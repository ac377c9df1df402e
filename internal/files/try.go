package files

import (
	"context"
	"crypto/md5" // #nosec G501 -- S3's Content-MD5
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// Try finds out whether Put could write a file of that name below base, and writes nothing. On disk the directory, or the
// nearest one above that is there, must be one that this process may write to. In S3 a write is sent whose checksum is wrong:
// S3 looks at it after the permission, and refuses it for the checksum alone (PutObject in the S3 API reference, BadDigest).
// A condition in its place (If-Match) would ask for s3:GetObject, which a function that only writes has not. The error says
// what to do.
func (f *Files) Try(ctx context.Context, base, name string) error {
	loc, err := parseBase(base)
	if err != nil {
		return err
	}
	if !loc.inS3 {
		return tryDisk(filepath.Join(loc.path, filepath.FromSlash(name)))
	}
	client, err := f.client(ctx)
	if err != nil {
		return err
	}
	loc.key = path.Join(loc.key, name)
	return tryObject(ctx, client, loc)
}

// errNotRefused is a service like S3 that does not look at checksums.
var errNotRefused = errors.New("a write with a wrong checksum was not refused: this is not S3 as AWS has it, and what was tried is there now")

// tryObject sends a write that must be refused for its checksum.
func tryObject(ctx context.Context, client S3, loc location) error {
	other := md5.Sum([]byte("not what is sent")) // #nosec G401 -- as above
	_, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:     &loc.bucket,
		Key:        &loc.key,
		Body:       strings.NewReader("never stored"),
		ContentMD5: aws.String(base64.StdEncoding.EncodeToString(other[:])),
	})
	if api := smithy.APIError(nil); errors.As(err, &api) && api.ErrorCode() == "BadDigest" {
		return nil
	}
	if err == nil {
		err = errNotRefused
	}
	return s3Error("trying to write", loc, "s3:PutObject", err)
}

// tryDisk looks whether a file could be written. Put makes the directories that are missing.
func tryDisk(name string) error {
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
			continue
		case err != nil:
			return diskError("trying to write", name, err)
		case !info.IsDir():
			return diskError("trying to write", name, &fs.PathError{Op: "stat", Path: dir, Err: syscall.ENOTDIR})
		}
		if err := mayWrite(dir); err != nil {
			return diskError("trying to write", name, fmt.Errorf("%s: %w", dir, err))
		}
		return nil
	}
}
