//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/files"
)

func TestFilesOfAnySizeAreWrittenListedReadFromAnywhereAndRemovedInS3(t *testing.T) {
	client := newBucket(t, "large-files")
	f := files.New(func(context.Context) (files.S3, error) { return client, nil })
	var rows bytes.Buffer
	for i := range 1 << 20 {
		fmt.Fprintf(&rows, "row %011d\n", i)
	}
	for name, data := range map[string][]byte{"undo/r1/00002": rows.Bytes(), "undo/r1/00001": rows.Bytes()[:16], "undo/r1/00003": nil} {
		w, err := f.Create(t.Context(), "s3://large-files", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		version, err := f.Version(t.Context(), w.Location())
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []int{0, 16, 8<<20 + 1, len(data)} {
			r, err := f.Open(t.Context(), w.Location(), version, int64(from))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data[min(from, len(data)):]) {
				t.Errorf("%s from %d: %d bytes of %d, %v", name, from, len(got), len(data), err)
			}
		}
	}
	w, err := f.Create(t.Context(), "s3://large-files", "undo/r1/00004")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(rows.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	uploads, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("large-files")})
	if err != nil || len(uploads.Uploads) > 0 {
		t.Errorf("uploads that are left: %+v, %v", uploads, err)
	}
	found, err := f.List(t.Context(), "s3://large-files", "undo/r1/")
	want := []string{"s3://large-files/undo/r1/00001", "s3://large-files/undo/r1/00002", "s3://large-files/undo/r1/00003"}
	if diff := cmp.Diff(want, found); diff != "" || err != nil {
		t.Errorf("listed (-want +got), %v:\n%s", err, diff)
	}
	for range 2 {
		for _, location := range found {
			if err := f.Remove(t.Context(), location); err != nil {
				t.Error(err)
			}
		}
	}
	if left, err := f.List(t.Context(), "s3://large-files", ""); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestAnUploadThatIsGivenUpNeedsItsOwnPermission(t *testing.T) {
	newBucket(t, "given-up")
	giveUp := func(user string, actions string) error {
		key := newUser(t, user, `{"Effect":"Allow","Action":[`+actions+`],"Resource":"arn:aws:s3:::given-up/plans/*"}`)
		client := s3.NewFromConfig(awsConfig(t, key))
		f := files.New(func(context.Context) (files.S3, error) { return client, nil })
		w, err := f.Create(t.Context(), "s3://given-up", "plans/run.plan")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 6<<20)); err != nil {
			t.Fatal(err)
		}
		return w.Abort()
	}
	if err := giveUp("given-up-without", `"s3:PutObject"`); err == nil || !strings.Contains(err.Error(), "s3:AbortMultipartUpload") {
		t.Errorf("without the permission: %v", err)
	}
	if err := giveUp("given-up-with", `"s3:PutObject","s3:AbortMultipartUpload"`); err != nil {
		t.Error(err)
	}
}
