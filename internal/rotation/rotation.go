package rotation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// DefaultLongestWarm is longer than Lambda keeps an execution environment, which it replaces every few hours.
const DefaultLongestWarm = 24 * time.Hour

// Config is what a Rotation works with.
type Config struct {
	// Place is where the secret is kept. Required.
	Place Place
	// Logto gives a client of the Management API for the tenant and the app of these credentials. Required.
	Logto func(context.Context, m2m.Credentials) (*logto.Client, error)
	// Resource is the Management API's resource indicator. Empty: it follows from the endpoint.
	Resource string
	// HTTPClient sends the token requests. Nil: one of m2m's own.
	HTTPClient *http.Client
	// LongestWarm is how long a process may keep a secret that it has read. Zero: DefaultLongestWarm.
	LongestWarm time.Duration
	// Log tells what was done. Nil: nothing does.
	Log *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Rotation rotates the secret in one place.
type Rotation struct{ Config }

// New makes a Rotation. It reads nothing yet.
func New(c Config) *Rotation {
	if c.LongestWarm == 0 {
		c.LongestWarm = DefaultLongestWarm
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Rotation{c}
}

// management is the resource indicator of the tenant's Management API.
func (r *Rotation) management(endpoint string) string {
	if r.Resource != "" {
		return r.Resource
	}
	return logto.ManagementResource(endpoint)
}

// held are credentials as a place has them.
type held struct {
	m2m.Credentials
	text []byte
}

// secret is the app secret itself.
func (h held) secret() string { return h.AppSecret.Reveal() }

// with is the same with another secret.
func (h held) with(secret string) (held, error) {
	text, err := replaced(h.text, "appSecret", secret)
	if err != nil {
		return held{}, err
	}
	return parse(text)
}

func parse(text []byte) (held, error) {
	c, err := m2m.ParseCredentials(text)
	return held{c, text}, err
}

// read reads a version's credentials.
func (r *Rotation) read(ctx context.Context, version string) (held, error) {
	text, err := r.Place.Read(ctx, version)
	if err != nil {
		return held{}, err
	}
	h, err := parse(text)
	if err != nil {
		return held{}, &CredentialsError{fmt.Errorf("version %s: %w", version, err)}
	}
	return h, nil
}

// current reads the state and the current credentials.
func (r *Rotation) current(ctx context.Context) (State, held, error) {
	s, err := r.Place.State(ctx)
	if err != nil {
		return s, held{}, err
	}
	id := s.labelled(Current)
	if id == "" {
		return s, held{}, &CredentialsError{fmt.Errorf("%s has no current version: put the app's credentials there first", s.Name)}
	}
	h, err := r.read(ctx, id)
	if err != nil {
		return s, held{}, fmt.Errorf("%s: %w", s.Name, err)
	}
	return s, h, nil
}

// CredentialsError says that what stands in the place is nothing that a rotation can begin with: a person must put the app's
// credentials there.
type CredentialsError struct{ Err error }

// Error implements error.
func (e *CredentialsError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *CredentialsError) Unwrap() error { return e.Err }

// errOtherApp says that somebody replaced the credentials during a rotation.
var errOtherApp = errors.New("the pending version is for another app or tenant than the current one: somebody replaced the credentials " +
	"since the rotation began. Take the label AWSPENDING from that version, and rotate again")

// pair reads the state, the current credentials and those of the version that is to replace them.
func (r *Rotation) pair(ctx context.Context, version string) (s State, current, next held, err error) {
	if s, current, err = r.current(ctx); err != nil {
		return s, current, next, err
	}
	if next, err = r.read(ctx, version); err != nil {
		return s, current, next, fmt.Errorf("%s: %w", s.Name, err)
	}
	if next.Endpoint != current.Endpoint || next.AppID != current.AppID {
		return s, current, next, fmt.Errorf("%s: %w", s.Name, errOtherApp)
	}
	return s, current, next, nil
}

// Rotated is what Rotate did, or with dryRun would do.
type Rotated struct {
	Version string // the version that is current now
	Secret  string // its secret's name in Logto
	AppID   string
	Resumed bool // a rotation was under way, and was gone on with
}

// Rotate does all steps. Where a rotation is under way, by whomever, it goes on with that one's version; otherwise version is
// the new one's id, by default a new one. With dryRun it looks whether it has what it takes, and changes nothing.
func (r *Rotation) Rotate(ctx context.Context, version string, dryRun bool) (Rotated, error) {
	s, current, err := r.current(ctx)
	if err != nil {
		return Rotated{}, err
	}
	done := Rotated{Version: version, AppID: current.AppID}
	if under := s.pending(); under != "" {
		done.Version, done.Resumed = under, true
	}
	if done.Version == "" {
		done.Version = newVersion()
	}
	done.Secret = s.secretName(done.Version)
	if dryRun {
		api, err := r.Logto(ctx, current.Credentials)
		if err == nil {
			_, err = api.AppScopes(ctx, current.AppID)
		}
		return done, err
	}
	for _, step := range []func(context.Context, string) error{r.Create, r.Test, r.Finish} {
		if err := step(ctx, done.Version); err != nil {
			return done, err
		}
	}
	return done, nil
}

// newVersion makes an id of a version as Secrets Manager's SDKs do: a random UUID (PutSecretValue, ClientRequestToken).
func newVersion() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// Create gives the app a second secret, and puts it into the place as that version. If it did so before, or only half of it,
// it goes on from there.
func (r *Rotation) Create(ctx context.Context, version string) error {
	s, current, err := r.current(ctx)
	if err != nil {
		return err
	}
	switch _, err := r.read(ctx, version); {
	case err == nil:
		return nil
	case !errors.Is(err, ErrNoValue):
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	api, err := r.Logto(ctx, current.Credentials)
	if err != nil {
		return err
	}
	name := s.secretName(version)
	made, err := makeSecret(ctx, api, current.AppID, name)
	if err != nil {
		return err
	}
	next, err := current.with(made.Value)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	if err := r.Place.Put(ctx, version, next.text); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	r.Log.Info("made a second secret", "place", s.Name, "app", current.AppID, "secret", name)
	return nil
}

// makeSecret makes a secret of that name, or finds the one that was made before.
func makeSecret(ctx context.Context, api *logto.Client, appID, name string) (logto.AppSecret, error) {
	made, err := api.CreateAppSecret(ctx, appID, name)
	if !errors.Is(err, logto.ErrExists) {
		return made, err
	}
	list, err := api.AppSecrets(ctx, appID)
	if err != nil {
		return made, err
	}
	i := slices.IndexFunc(list, func(s logto.AppSecret) bool { return s.Name == name })
	if i < 0 {
		return made, fmt.Errorf("the secret %s of app %s was there a moment ago and is not now: somebody deleted it, rotate again", name, appID)
	}
	return list[i], nil
}

// Finish makes that version the current one. Before, Test must have succeeded.
func (r *Rotation) Finish(ctx context.Context, version string) error {
	s, err := r.Place.State(ctx)
	if err != nil {
		return err
	}
	if from := s.labelled(Current); from != version {
		if _, _, _, err := r.pair(ctx, version); err != nil {
			return err
		}
		if err := r.Place.Promote(ctx, version, from); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		r.Log.Info("the new secret is current", "place", s.Name, "version", version)
	}
	// A label that stays would make Secrets Manager take the rotation for one that is under way, as soon as somebody puts another
	// version there.
	if err := r.Place.Settle(ctx, version); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}
