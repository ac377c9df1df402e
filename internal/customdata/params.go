package customdata

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Action is what a run does.
type Action string

// The actions.
const (
	ActionSync  Action = "sync"  // writes rows; also the meaning of ""
	ActionPlan  Action = "plan"  // writes down what rows would change
	ActionApply Action = "apply" // does what a plan says
	ActionUndo  Action = "undo"  // takes back what a run wrote
)

// Params are the job's parameters. To sync or to plan, exactly one of Rows and Source is given.
type Params struct {
	// Action is what to do. Empty: ActionSync.
	Action Action `json:"action,omitempty"`
	// Rows to sync, as the lines of an NDJSON file. An empty list is fine: nothing is done then.
	Rows []json.RawMessage `json:"rows,omitzero"`
	// Source is a file of rows: a path or s3://bucket/key.
	Source string `json:"source,omitempty"`
	// DryRun reports what would change, and writes nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Newer names a field by which older rows are left out: "orders.asOf". Empty: none are.
	Newer string `json:"newer,omitempty"`
	// OnlyKeys are the top-level keys that may be written or removed: what rows say of others is left out. Empty: all.
	OnlyKeys []string `json:"onlyKeys,omitempty"`
	// Limit is how many users at most are changed, whatever becomes of the run's attempts: in a plan the first ones by id, in a sync
	// those of the first rows that change something. Zero: no limit.
	Limit int64 `json:"limit,omitempty"`
	// FailAbove is a share of the rows in percent: if more would change their users or can't be used, or if there are no rows at
	// all, the run fails. A sync then makes a plan first, so that it fails before it writes anything. Zero: no such guard.
	FailAbove float64 `json:"failAbove,omitempty"`
	// Plan is where to write the plan (empty: plans/RUNID.plan in the output), or the plan to apply.
	Plan string `json:"plan,omitempty"`
	// Run is the run to take back.
	Run string `json:"run,omitempty"`
	// Force writes users of a plan, or of a run that is taken back, also where somebody else changed the same keys since.
	Force bool `json:"force,omitempty"`

	etag string // of the object that an S3 event told of
}

// Config is what the job works with.
type Config struct {
	// Client returns the client of the tenant's Management API. It is called at the first row that needs it, so that
	// a run without rows reads no secret and asks for no token. Required.
	Client func(ctx context.Context) (*logto.Client, error)
	// Files opens sources. Required.
	Files *files.Files
	// Output is where plans (plans/) and what runs overwrote (undo/RUNID/) are kept: a directory or s3://bucket/prefix. Empty: no
	// plan can be made, and what a run overwrites is not kept.
	Output string
	// SealKey returns 32 bytes with which what runs overwrote is encrypted. Nil: it is not, because the place does it (as S3 does).
	SealKey func() ([]byte, error)
	// PerSecond is how many requests a second a run may make, for a plan's estimate; zero: as many as the server takes. Nil: zero.
	PerSecond func(ctx context.Context) float64
	// Newer is Params.Newer of runs that an S3 event starts, directly or through a queue, which carries no params. Empty: none.
	Newer string
	// Progress, if set, is told how far a run is: when it begins or goes on, and whenever rows are done, up to a hundred at a time.
	// The run waits for it.
	Progress func(Progress)
	// Writers is how many users are written at the same time at most. Zero: 16.
	Writers int
	// Lookups is how many requests for users may be under way at the same time. Zero: 6.
	Lookups int
}

func (c Config) lookups() int { return cmp.Or(c.Lookups, 6) }

func (c Config) writers() int { return cmp.Or(c.Writers, 16) }

// Name is the job's name.
const Name = "sync-custom-data"

// Job returns the job.
func Job(c Config) jobs.Job[Params] {
	return jobs.Job[Params]{
		Name:   Name,
		Run:    c.run,
		Params: c.params,
		Digest: func(ctx context.Context, p Params) (string, error) {
			switch {
			case p.Source != "":
				return c.Files.Version(ctx, p.Source)
			case p.Action == ActionApply:
				return c.Files.Version(ctx, p.Plan)
			}
			return "", nil
		},
		CheckpointVersion: 2, // 1: a position; 2: plans
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
	return p, p.check()
}

// check refuses what does not go together.
func (p Params) check() error {
	rows := p.Rows != nil || p.Source != ""
	switch p.Action {
	case "", ActionSync, ActionPlan:
		switch {
		case p.Rows != nil && p.Source != "":
			return errors.New(`params have both "rows" and "source": give one of them`)
		case !rows:
			return errors.New(`params have neither "rows" nor "source": give {"rows": [...]} or {"source": "path or s3://bucket/key"}`)
		case p.Run != "" || p.Force:
			return errors.New(`"run" and "force" are for the actions apply and undo`)
		case p.Plan != "" && p.Action != ActionPlan:
			return errors.New(`"plan" is for the actions plan and apply: give {"action": "apply", "plan": "…"} to apply one`)
		case p.Plan != "" && p.Plan == p.Source:
			return errors.New(`"plan" is where the plan is written, and would replace the rows in "source": name another file`)
		case p.DryRun && p.Action == ActionPlan:
			return errors.New(`"dryRun" is nothing for a plan, which writes nothing to Logto anyway`)
		}
	case ActionApply, ActionUndo:
		switch {
		case rows || p.Newer != "" || p.OnlyKeys != nil || p.FailAbove != 0:
			return fmt.Errorf(`"rows", "source", "newer", "onlyKeys" and "failAbove" are not for the action %s: give them to the plan`, p.Action)
		case p.Action == ActionApply && (p.Plan == "" || p.Run != ""):
			return errors.New(`the action apply takes "plan", a path or s3://bucket/key, and no "run"`)
		case p.Action == ActionUndo && (p.Run == "" || p.Plan != ""):
			return errors.New(`the action undo takes "run", a run's id, and no "plan"`)
		case strings.ContainsAny(p.Run, "/\\") || p.Run == "..":
			return fmt.Errorf(`"run": %.100q is not a run's id`, p.Run)
		}
	default:
		return fmt.Errorf(`"action": %.100q is none of sync, plan, apply, undo`, p.Action)
	}
	return p.checkGuards()
}

func (p Params) checkGuards() error {
	path, err := parsePath(p.Newer)
	switch {
	case err != nil:
		return err
	case p.OnlyKeys != nil && len(p.OnlyKeys) == 0:
		return errors.New(`"onlyKeys" is empty: name keys, or leave it out`)
	case len(path) > 0 && p.OnlyKeys != nil && !slices.Contains(p.OnlyKeys, path[0]):
		return fmt.Errorf(`"onlyKeys" leaves out %q, by which older rows are told ("newer"): add it`, path[0])
	case p.Limit < 0:
		return fmt.Errorf(`"limit": %d is below zero`, p.Limit)
	case !(p.FailAbove >= 0 && p.FailAbove <= 100):
		return fmt.Errorf(`"failAbove": %v is no share in percent, from 0 to 100`, p.FailAbove)
	}
	return nil
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
