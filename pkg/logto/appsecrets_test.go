package logto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestAnAppSecretIsMadeListedAndDeleted(t *testing.T) {
	tenant := logtotest.New(t)
	client := newClient(t, tenant)
	app := tenant.AddApp("orders")
	expiry := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	tenant.AddSecret(app.ID, logtotest.Secret{Name: "of somebody else", ExpiresAt: expiry})

	const name = "m2mjobs: a name/with what a path must escape?"
	made, err := client.CreateAppSecret(t.Context(), app.ID, name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Value, "logtotestSecret") || made.Name != name || !made.ExpiresAt.IsZero() || time.Since(made.CreatedAt) > time.Minute {
		t.Errorf("made %v, with a value of %d characters, expiring %v", made, len(made.Value), made.ExpiresAt)
	}
	if _, err := client.CreateAppSecret(t.Context(), app.ID, name); !errors.Is(err, logto.ErrExists) {
		t.Errorf("a name that is taken: %v, want ErrExists", err)
	}
	listed, err := client.AppSecrets(t.Context(), app.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(listed) != 3 || listed[0].Value != app.Secret || !listed[1].ExpiresAt.Equal(expiry) || listed[2] != made {
		t.Errorf("listed %v", listed)
	}
	if err := client.DeleteAppSecret(t.Context(), app.ID, name); err != nil {
		t.Fatal(err)
	}
	if err := client.DeleteAppSecret(t.Context(), app.ID, name); !errors.Is(err, logto.ErrNotFound) {
		t.Errorf("deleted twice: %v, want ErrNotFound", err)
	}
	if left, err := client.AppSecrets(t.Context(), app.ID); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestAMakingWhoseAnswerWasLostIsKnownByItsName(t *testing.T) {
	tenant := logtotest.New(t)
	app := tenant.AddApp("orders")
	client := newClient(t, tenant)
	tenant.Inject(logtotest.Fault{Route: "POST /api/applications/{id}/secrets", ResetAfter: true})
	_, err := client.CreateAppSecret(t.Context(), app.ID, "lost")
	if err == nil {
		t.Fatal("it succeeded")
	}
	if _, err := client.CreateAppSecret(t.Context(), app.ID, "lost"); !errors.Is(err, logto.ErrExists) {
		t.Errorf("again: %v, want ErrExists", err)
	}
}

func TestPathsOfAppsAndSecretsCannotLeadElsewhere(t *testing.T) {
	client := newClient(t, logtotest.New(t))
	for _, id := range []string{"", ".", ".."} {
		for what, call := range map[string]func() error{
			"list":   func() error { _, err := client.AppSecrets(t.Context(), id); return err },
			"make":   func() error { _, err := client.CreateAppSecret(t.Context(), id, "name"); return err },
			"delete": func() error { return client.DeleteAppSecret(t.Context(), "app", id) },
			"of":     func() error { return client.DeleteAppSecret(t.Context(), id, "name") },
			"scopes": func() error { _, err := client.AppScopes(t.Context(), id); return err },
		} {
			if err := call(); err == nil || errors.As(err, new(*logto.Error)) {
				t.Errorf("%s with %q: %v, want a refusal before anything is sent", what, id, err)
			}
		}
	}
	if _, err := client.AppSecrets(t.Context(), "no-such-app"); !errors.Is(err, logto.ErrNotFound) {
		t.Errorf("an unknown app: %v, want ErrNotFound", err)
	}
}

func TestAnAppSecretPrintsWithoutItsValue(t *testing.T) {
	s := logto.AppSecret{Name: "second", Value: "logtotestSecret0123456789abcdefg"}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, &s)
		fmt.Fprintf(&out, verb, []logto.AppSecret{s})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("made", "secret", s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("made", "secret", s)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(data)
	if strings.Contains(out.String(), "logtotestSecret") || strings.Contains(out.String(), fmt.Sprintf("%x", "logtotestSecret")) {
		t.Error("the value was printed")
	}
	if !strings.Contains(out.String(), "second") {
		t.Errorf("the name was not printed: %s", &out)
	}
}

func TestTheAuditLogTellsWhichSecretWasUsedLast(t *testing.T) {
	tenant := logtotest.New(t)
	app, other := tenant.AddApp("orders"), tenant.AddApp("other")
	second := tenant.AddSecret(app.ID, logtotest.Secret{Name: "second"})
	token := func(id, secret string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, tenant.URL+"/oidc/token",
			strings.NewReader("grant_type=client_credentials&resource="+logtotest.ManagementResource))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(id, secret)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := tenant.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for range 150 { // more than a page
		token(app.ID, app.Secret)
	}
	token(app.ID, second.Value)
	token(app.ID, "a wrong one")
	token(other.ID, other.Secret)

	counts, first := map[string]int{}, ""
	for use, err := range newClient(t, tenant).SecretUses(t.Context(), app.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = use.Secret
		}
		if time.Since(use.At) > time.Minute {
			t.Errorf("%s was used at %v", use.Secret, use.At)
		}
		counts[use.Secret]++
	}
	if diff := cmp.Diff(map[string]int{logtotest.DefaultSecret: 150, "second": 1}, counts); diff != "" || first != "second" {
		t.Errorf("newest is %q; uses (-want +got):\n%s", first, diff)
	}
}

func TestAnAuditLogThatCannotBeReadIsAnError(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.Inject(logtotest.Fault{Route: "GET /api/logs", Status: 503})
	for _, err := range newClient(t, tenant).SecretUses(t.Context(), "app") {
		if !errors.Is(err, logto.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Error("the log ended without an error")
}

func TestAppScopesAreThoseOfAllItsRoles(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.AddResource("https://shopping.api", "read:orders", "read:products", "write:products")
	app := tenant.AddApp("orders")
	client := newClient(t, tenant)
	if scopes, err := client.AppScopes(t.Context(), app.ID); err != nil || len(scopes) != 0 {
		t.Errorf("without a role: %v, %v", scopes, err)
	}
	tenant.Grant(app.ID, "https://shopping.api", "read:orders", "read:products")
	tenant.Grant(app.ID, "https://shopping.api", "read:orders")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	for range 100 { // more than a page of roles
		tenant.AssignRole(app.ID, tenant.AddRole(logtotest.Role{Name: "empty"}))
	}
	scopes, err := client.AppScopes(t.Context(), app.ID)
	want := map[string][]string{"https://shopping.api": {"read:orders", "read:products"}, logtotest.ManagementResource: {"all"}}
	if diff := cmp.Diff(want, scopes); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestTheLongestTokenLifetimeIsTheTenants(t *testing.T) {
	tenant := logtotest.NewWith(t, logtotest.Config{TokenLifetime: 90 * time.Minute})
	if longest, err := newClient(t, tenant).LongestTokenLifetime(t.Context()); err != nil || longest != 90*time.Minute {
		t.Errorf("%v, %v", longest, err)
	}
}
