package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
)

// rotate are the commands about app secrets.
type rotate struct {
	Now    rotateNow    `cmd:"" default:"withargs" help:"Replace the app's secret. This is what m2mjobs rotate does."`
	Status rotateStatus `cmd:"" help:"Show both sides: the versions where the secret is kept, and the app's secrets in Logto with their last use."`
}

// access says what is rotated, and by whose access.
type access struct {
	EnvFile    string `type:"existingfile" placeholder:"FILE" help:"Variables, NAME=value a line. Those that are set already win."`
	AccessFile string `type:"existingfile" placeholder:"FILE" help:"Credentials of an app that may do all in the Management API. Default: those that are rotated."`
	AccessID   string `name:"access-id" placeholder:"ID" help:"The same, as a secret in AWS Secrets Manager."`
}

// rotation builds what the environment names.
func (a access) rotation(longestWarm time.Duration) (*rotation.Rotation, error) {
	if err := loadVariables(a.EnvFile); err != nil {
		return nil, err
	}
	return function.NewRotation(function.Process(), function.RotationConfig{
		AccessFile: a.AccessFile, AccessID: a.AccessID, LongestWarm: longestWarm, Log: slog.New(slog.DiscardHandler),
	})
}

type rotateNow struct {
	DryRun      bool          `help:"Say what would be done, and do nothing. It costs a token for access."`
	LongestWarm time.Duration `default:"24h" placeholder:"TIME" help:"How long a process may keep a secret that it has read. Default: ${default}."`
	access
}

// Help is shown by --help.
func (rotateNow) Help() string {
	return `Makes a second secret for the app in Logto, tries it, and puts it where the first one is kept: the file of M2M_SECRET_FILE,
which is replaced whole, or the secret M2M_SECRET_ID in AWS Secrets Manager. The old secret stays valid. A later call deletes
it, when Logto's audit log proves that nobody has used it for as long as a token and a process live. Secrets that were made
by others, as the app's first one was, are never deleted. A call that was interrupted may be repeated.

  M2M_SECRET_FILE=sync.json m2mjobs rotate --dry-run
  M2M_SECRET_FILE=orders.json m2mjobs rotate --access-file sync.json`
}

// Run rotates the secret, and deletes what earlier rotations have left.
func (c *rotateNow) Run(ctx context.Context, io stdio) error {
	r, err := c.rotation(c.LongestWarm)
	if err != nil {
		return err
	}
	would := ""
	if c.DryRun {
		would = "would be: "
	}
	done, err := r.Rotate(ctx, "", c.DryRun)
	if err != nil {
		return err
	}
	how := "a new secret"
	if done.Resumed {
		how = "a rotation was under way, and is done: a new secret"
	}
	if err := printDone(io, nil, "%sapp %s has %s, %s", would, done.AppID, how, done.Secret); err != nil {
		return err
	}
	cleaned, err := r.Clean(ctx, c.DryRun)
	if err != nil {
		return err
	}
	for _, name := range cleaned.Deleted {
		if err := printDone(io, nil, "%sdeleted: %s", would, name); err != nil {
			return err
		}
	}
	for _, kept := range cleaned.Kept {
		if err := printDone(io, nil, "kept for now: %s: %s", kept.Name, kept.Why); err != nil {
			return err
		}
	}
	return nil
}

type rotateStatus struct{ access }

// Run shows both sides.
func (c *rotateStatus) Run(ctx context.Context, io stdio) error {
	r, err := c.rotation(0)
	if err != nil {
		return err
	}
	s, err := r.Status(ctx)
	if err != nil {
		return err
	}
	return printStatus(io.out, s)
}

func printStatus(w io.Writer, s rotation.Status) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) }
	row("place", s.Place.Name)
	row("changed", date(s.Place.Changed, "unknown"))
	row("app", s.AppID)
	row("endpoint", s.Endpoint)
	row()
	row("VERSION", "LABELS")
	for _, v := range s.Place.Versions {
		row(v.ID, strings.Join(v.Labels, " "))
	}
	row()
	row("SECRET IN LOGTO", "IT IS", "CREATED", "EXPIRES", "LAST USED")
	never := "never"
	if !s.Since.IsZero() {
		never = "not since " + date(s.Since, "")
	}
	for _, one := range s.Secrets {
		row(one.Name, roleText(one.Role), date(one.CreatedAt, ""), date(one.ExpiresAt, "never"), date(one.LastUse, never))
	}
	return table.Flush()
}

func roleText(r rotation.Role) string {
	switch r {
	case rotation.RoleLeft:
		return "left, to be deleted"
	case rotation.RoleOther:
		return "of others, never deleted"
	}
	return string(r)
}

func date(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}
