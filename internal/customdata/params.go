package customdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Params are the job's parameters. Exactly one of Rows and Source is given.
type Params struct {
	// Rows to sync, as the lines of an NDJSON file. An empty list is fine: nothing is done then.
	Rows []json.RawMessage `json:"rows,omitzero"`
	// Source is a file of rows: a path or s3://bucket/key.
	Source string `json:"source,omitempty"`
	// DryRun reports what would change, and writes nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Newer names a field by which older rows are left out: "orders.asOf". Empty: none are.
	Newer string `json:"newer,omitempty"`

	etag string // of the object that an S3 event told of
}

// Config is what the job works with.
type Config struct {
	// Client returns the client of the tenant's Management API. It is called at the first row that needs it, so that
	// a run without rows reads no secret and asks for no token. Required.
	Client func(ctx context.Context) (*logto.Client, error)
	// Files opens sources. Required.
	Files *files.Files
	// Newer is Params.Newer of runs that an S3 event starts, directly or through a queue, which carries no params. Empty: none.
	Newer string
	// Writers is how many users are written at the same time at most. Zero: 16.
	Writers int
}

func (c Config) writers() int {
	if c.Writers > 0 {
		return c.Writers
	}
	return 16
}

// Name is the job's name.
const Name = "sync-custom-data"

// Job returns the job.
func Job(c Config) jobs.Job[Params] {
	return jobs.Job[Params]{
		Name:   Name,
		Run:    c.run,
		Params: c.params,
		Digest: func(ctx context.Context, p Params) (string, error) {
			if p.Source == "" {
				return "", nil
			}
			return c.Files.Version(ctx, p.Source)
		},
		CheckpointVersion: 1, // 1: a position
	}
}

// params makes the parameters from what the trigger carries.
func (c Config) params(t jobs.Trigger, payload json.RawMessage) (Params, error) {
	if t.EventSource == "aws.s3" {
		return c.fromS3(t.DetailType, payload)
	}
	p, err := jobs.Decode[Params](payload)
	if err != nil {
		return Params{}, err
	}
	switch {
	case p.Rows != nil && p.Source != "":
		return Params{}, errors.New(`params have both "rows" and "source": give one of them`)
	case p.Rows == nil && p.Source == "":
		return Params{}, errors.New(`params have neither "rows" nor "source": give {"rows": [...]} or {"source": "path or s3://bucket/key"}`)
	case p.Newer != "":
		if _, err := parsePath(p.Newer); err != nil {
			return Params{}, err
		}
	}
	return p, nil
}

// fromS3 makes the parameters from the detail of an event of S3 (Amazon S3 User Guide, "EventBridge event message
// structure"): the key stands there as it is, not URL-encoded, and the ETag without quotes.
func (c Config) fromS3(detailType string, payload json.RawMessage) (Params, error) {
	if detailType != "Object Created" {
		return Params{}, fmt.Errorf(`S3 event %q names no rows: narrow the rule to the detail type "Object Created"`, detailType)
	}
	var detail struct {
		Bucket struct{ Name string }
		Object struct{ Key, ETag string }
	}
	if err := json.Unmarshal(payload, &detail); err != nil {
		return Params{}, fmt.Errorf("reading the detail of an S3 event: %w", err)
	}
	if detail.Bucket.Name == "" || detail.Object.Key == "" {
		return Params{}, errors.New("the detail of the S3 event lacks bucket.name or object.key")
	}
	return Params{
		Source: "s3://" + detail.Bucket.Name + "/" + detail.Object.Key,
		Newer:  c.Newer,
		etag:   strings.Trim(detail.Object.ETag, `"`),
	}, nil
}
