package rotation

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Status is both sides of a secret: the versions in its place, and the app's secrets in Logto.
type Status struct {
	Place    State
	Endpoint string
	AppID    string
	Secrets  []SecretStatus // oldest first
	// Since is how far back the audit log was read: a secret without a last use was not used since. Zero: the log has nothing.
	Since time.Time
}

// SecretStatus is one of the app's secrets in Logto.
type SecretStatus struct {
	logto.AppSecret
	Version string    // the version that it is, if that is current or pending
	Role    Role      // what it is for
	LastUse time.Time // zero: none that the log knows
}

// Role is what a secret is for.
type Role string

// The roles.
const (
	RoleCurrent Role = "current" // read by those who use the secret
	RolePending Role = "pending" // of a rotation under way
	RoleLeft    Role = "left"    // replaced, or of a rotation that died: Clean deletes it
	RoleOther   Role = "other"   // made by somebody else: never touched
)

// longestLog is how many entries of the audit log Status reads.
const longestLog = 5000

// Status reads both sides. It changes nothing, and asks for no token of the app's.
func (r *Rotation) Status(ctx context.Context) (Status, error) {
	s, current, err := r.current(ctx)
	if err != nil {
		return Status{}, err
	}
	api, err := r.Logto(ctx, current.Credentials)
	if err != nil {
		return Status{}, err
	}
	secrets, err := api.AppSecrets(ctx, current.AppID)
	if err != nil {
		return Status{}, err
	}
	left, err := r.left(ctx, s, current, secrets)
	if err != nil {
		return Status{}, err
	}
	status := Status{Place: s, Endpoint: current.Endpoint, AppID: current.AppID}
	for _, one := range secrets {
		is := SecretStatus{AppSecret: one, Role: RoleOther}
		switch {
		case one.Value == current.secret():
			is.Role, is.Version = RoleCurrent, s.labelled(Current)
		case s.pending() != "" && one.Name == s.secretName(s.pending()):
			is.Role, is.Version = RolePending, s.pending()
		case slices.ContainsFunc(left, func(l logto.AppSecret) bool { return l.Name == one.Name }):
			is.Role, is.Version = RoleLeft, strings.TrimPrefix(one.Name, s.prefix())
		}
		status.Secrets = append(status.Secrets, is)
	}
	slices.SortStableFunc(status.Secrets, func(a, b SecretStatus) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return status, status.readLastUses(ctx, api)
}

// readLastUses reads the log until it has found each secret.
func (s *Status) readLastUses(ctx context.Context, api *logto.Client) error {
	n, found := 0, 0
	for use, err := range api.SecretUses(ctx, s.AppID) {
		if err != nil {
			return err
		}
		s.Since = use.At
		for i := range s.Secrets {
			if s.Secrets[i].Name == use.Secret && s.Secrets[i].LastUse.IsZero() {
				s.Secrets[i].LastUse = use.At
				found++
			}
		}
		if n++; n == longestLog || found == len(s.Secrets) {
			break
		}
	}
	return nil
}
