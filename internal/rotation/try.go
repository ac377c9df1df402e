package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Test gets a token with the version's secret for each API that the app's roles name, and fails if one of the scopes is
// missing that the current secret is granted. Where the current one is refused, which the rotation is about to mend, the
// scopes of the roles count.
//
// Secrets Manager calls it alone, with a version that has no value, when a schedule is set up: then the current secret is
// tried.
func (r *Rotation) Test(ctx context.Context, version string) error {
	s, current, next, err := r.pair(ctx, version)
	if errors.Is(err, ErrNoValue) {
		next, err = current, nil
	}
	if err != nil {
		return err
	}
	api, err := r.Logto(ctx, current.Credentials)
	if err != nil {
		return err
	}
	promised, err := api.AppScopes(ctx, current.AppID)
	if err != nil {
		return err
	}
	if len(promised) == 0 { // a token without a scope shows that the secret is taken
		promised = map[string][]string{r.management(current.Endpoint): nil}
	}
	for _, resource := range slices.Sorted(maps.Keys(promised)) {
		want, err := r.granted(ctx, current, resource, promised[resource])
		if errors.Is(err, m2m.ErrWrongSecret) || errors.Is(err, m2m.ErrSecretExpired) {
			r.Log.Warn("the current secret is refused: the new one is compared with the roles", "place", s.Name)
			want, err = promised[resource], nil
		}
		if err != nil {
			return fmt.Errorf("%s: with the current secret: %w", s.Name, err)
		}
		got, err := r.granted(ctx, next, resource, promised[resource])
		if err != nil {
			return fmt.Errorf("%s: with the new secret: %w", s.Name, err)
		}
		missing := slices.DeleteFunc(slices.Clone(want), func(scope string) bool { return slices.Contains(got, scope) })
		if len(missing) > 0 {
			return fmt.Errorf("%s: the new secret is not granted %s of %s, which the current one is", s.Name, strings.Join(missing, " "), resource)
		}
	}
	return nil
}

// granted gets a token and returns which of the scopes it was granted.
func (r *Rotation) granted(ctx context.Context, h held, resource string, scopes []string) ([]string, error) {
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(h.Credentials), Resource: resource, Scopes: scopes, HTTPClient: r.HTTPClient,
	})
	if err != nil {
		return nil, err
	}
	_, err = source.Token(ctx)
	if fewer := (*m2m.ScopeError)(nil); errors.As(err, &fewer) {
		return fewer.Granted, nil
	}
	return scopes, err
}
