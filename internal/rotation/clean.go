package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Cleaned is what Clean did, or with dryRun would have done.
type Cleaned struct {
	Deleted []string // names of secrets
	Kept    []Kept   // those of its own that are neither current nor pending, and were not deleted
	// Age is how long the current secret has been there.
	Age time.Duration
}

// Kept is a secret that may not be deleted yet.
type Kept struct{ Name, Why string }

// clockSkew is how far Logto's clock and ours may be apart.
const clockSkew = 5 * time.Minute

// Clean deletes the secrets that rotations have left, once it is proven that nobody uses them (see the package comment).
// Without any it asks for a list of secrets and no more; with some it costs a token.
func (r *Rotation) Clean(ctx context.Context, dryRun bool) (Cleaned, error) {
	s, current, err := r.current(ctx)
	if err != nil {
		return Cleaned{}, err
	}
	api, err := r.Logto(ctx, current.Credentials)
	if err != nil {
		return Cleaned{}, err
	}
	secrets, err := api.AppSecrets(ctx, current.AppID)
	if err != nil {
		return Cleaned{}, err
	}
	live := slices.IndexFunc(secrets, func(one logto.AppSecret) bool { return one.Value == current.secret() })
	if live < 0 {
		return Cleaned{}, &CredentialsError{fmt.Errorf("%s: its secret is none of app %s: put one of the app's secrets there", s.Name, current.AppID)}
	}
	done := Cleaned{Age: r.Now().Sub(secrets[live].CreatedAt)}
	old, err := r.left(ctx, s, current, secrets)
	if err != nil || len(old) == 0 {
		return done, err
	}
	idle, why, err := r.idle(ctx, api, s, current, secrets[live].Name, old)
	if err != nil {
		return done, err
	}
	for _, one := range old {
		if !slices.Contains(idle, one.Name) {
			done.Kept = append(done.Kept, Kept{one.Name, why})
			continue
		}
		if !dryRun {
			if err := api.DeleteAppSecret(ctx, current.AppID, one.Name); err != nil && !errors.Is(err, logto.ErrNotFound) {
				return done, err
			}
			r.Log.Info("deleted a secret that nobody uses", "place", s.Name, "app", current.AppID, "secret", one.Name)
		}
		done.Deleted = append(done.Deleted, one.Name)
	}
	return done, nil
}

// left are the secrets that were made for this place and are no version that is in use.
func (r *Rotation) left(ctx context.Context, s State, current held, secrets []logto.AppSecret) ([]logto.AppSecret, error) {
	names, values := []string{s.secretName(s.labelled(Current))}, []string{current.secret()}
	if version := s.pending(); version != "" {
		names = append(names, s.secretName(version))
		switch next, err := r.read(ctx, version); {
		case err == nil:
			values = append(values, next.secret())
		case !errors.Is(err, ErrNoValue):
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return slices.DeleteFunc(slices.Clone(secrets), func(one logto.AppSecret) bool {
		return !strings.HasPrefix(one.Name, s.prefix()) || slices.Contains(names, one.Name) || slices.Contains(values, one.Value)
	}), nil
}

// idle are the names of those secrets that nobody has used for the quiet time, and why the others are not among them.
func (r *Rotation) idle(ctx context.Context, api *logto.Client, s State, current held, live string, old []logto.AppSecret) (names []string, why string, err error) {
	longest, err := api.LongestTokenLifetime(ctx)
	if err != nil {
		return nil, "", err
	}
	quiet := longest + r.LongestWarm
	if since := r.Now().Sub(s.Changed); since < quiet {
		return nil, fmt.Sprintf("%s was changed %v ago: not before %v", s.Name, since.Round(time.Second), quiet), nil
	}
	asked := r.Now()
	if _, err := r.granted(ctx, current, r.management(current.Endpoint), nil); err != nil {
		return nil, "", fmt.Errorf("%s: a token with the current secret, without which no other is deleted: %w", s.Name, err)
	}
	uses, err := readUses(ctx, api, current.AppID, quiet)
	if err != nil {
		return nil, "", err
	}
	switch {
	case uses.newest.IsZero() || uses.last[live].Before(asked.Add(-clockSkew)):
		return nil, "", fmt.Errorf("the audit log does not have the token that app %s got with %q just now, so it proves nothing", current.AppID, live)
	case !uses.enough:
		return nil, fmt.Sprintf("the audit log reaches back to %s only, which is less than %v: it proves nothing yet",
			uses.oldest.Format(time.RFC3339), quiet), nil
	}
	for _, one := range old {
		if _, used := uses.last[one.Name]; !used && one.CreatedAt.Before(uses.newest.Add(-quiet)) {
			names = append(names, one.Name)
		}
	}
	return names, fmt.Sprintf("it was used or made less than %v ago", quiet), nil
}

// uses are an app's token requests of some time.
type uses struct {
	last           map[string]time.Time // by the secret's name
	newest, oldest time.Time
	enough         bool // the log has older ones still
}

// readUses reads them as far back as quiet from the newest one: by Logto's clock alone.
func readUses(ctx context.Context, api *logto.Client, appID string, quiet time.Duration) (uses, error) {
	u := uses{last: map[string]time.Time{}}
	for use, err := range api.SecretUses(ctx, appID) {
		if err != nil {
			return u, err
		}
		if u.newest.IsZero() {
			u.newest = use.At
		}
		if u.oldest = use.At; use.At.Before(u.newest.Add(-quiet)) {
			u.enough = true
			return u, nil
		}
		if use.At.After(u.last[use.Secret]) {
			u.last[use.Secret] = use.At
		}
	}
	return u, nil
}
