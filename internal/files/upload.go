package files

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	// partSize is how much of an object is uploaded at a time: the least that S3 takes of all parts but the last. It takes
	// 10,000 parts (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
	partSize = 5 << 20
	// tidyTime is how long removing the parts of an upload may take after its context has ended.
	tidyTime = 10 * time.Second
)

// upload is an object that is being uploaded, in parts if it is larger than one. It holds one part.
type upload struct {
	ctx    context.Context // of Create
	client S3
	loc    location
	id     *string // nil: no part was sent
	sent   []types.CompletedPart
	part   []byte
}

// Write implements io.Writer; each part is sent when it is full.
func (u *upload) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), partSize-len(u.part))
		u.part, rest = append(u.part, rest[:n]...), rest[n:]
		if len(u.part) < partSize {
			break
		}
		if err := u.send(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// send uploads the part, and begins the upload with the first.
func (u *upload) send() error {
	if u.id == nil {
		out, err := u.client.CreateMultipartUpload(u.ctx, &s3.CreateMultipartUploadInput{
			Bucket: &u.loc.bucket, Key: &u.loc.key, ContentType: aws.String(contentType(u.loc.key)),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		})
		if err != nil {
			return s3Error("writing", u.loc, "s3:PutObject", err)
		}
		u.id = out.UploadId
	}
	number := int32(len(u.sent) + 1)
	out, err := u.client.UploadPart(u.ctx, &s3.UploadPartInput{
		Bucket: &u.loc.bucket, Key: &u.loc.key, UploadId: u.id, PartNumber: &number, Body: bytes.NewReader(u.part),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		return s3Error("writing", u.loc, "s3:PutObject", err)
	}
	u.sent = append(u.sent, types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	u.part = u.part[:0]
	return nil
}

// commit makes the object appear.
func (u *upload) commit() error {
	if u.id == nil {
		out, err := u.client.PutObject(u.ctx, &s3.PutObjectInput{
			Bucket: &u.loc.bucket, Key: &u.loc.key, Body: bytes.NewReader(u.part), ContentType: aws.String(contentType(u.loc.key)),
		})
		if err != nil {
			return s3Error("writing", u.loc, "s3:PutObject", err)
		}
		if aws.ToString(out.ETag) == "" {
			// The SDK takes any answer of 200 for a good one, also that of something between that knows nothing of S3.
			return fmt.Errorf("writing %s: the answer has no ETag, so it is not S3's, and nothing may have been stored", u.loc)
		}
		return nil
	}
	if len(u.part) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	_, err := u.client.CompleteMultipartUpload(u.ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.loc.bucket, Key: &u.loc.key, UploadId: u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.sent},
	})
	if err != nil {
		return s3Error("writing", u.loc, "s3:PutObject", err)
	}
	return nil
}

// abort removes the parts, also after the context has ended.
func (u *upload) abort() error {
	if u.id == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), tidyTime)
	defer cancel()
	_, err := u.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.loc.bucket, Key: &u.loc.key, UploadId: u.id})
	if err != nil {
		return fmt.Errorf("parts of an upload remain, and are paid for, until a lifecycle rule of the bucket removes them: %w",
			s3Error("removing those of", u.loc, "s3:AbortMultipartUpload", err))
	}
	return nil
}
