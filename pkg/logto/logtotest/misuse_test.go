package logtotest_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// notes takes the failures of a tenant instead of a test.
type notes struct {
	testing.TB
	errors []string
}

func (n *notes) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

// A grant to an app that is not there would make a test pass for the wrong reason.
func TestMisuseFailsTheTest(t *testing.T) {
	n := &notes{TB: t}
	tenant := logtotest.NewWith(n, logtotest.Config{})
	app := tenant.AddApp("sync")
	tenant.AddUser(logtotest.User{ID: "ann000000000"})

	tenant.Grant("nope", logtotest.ManagementResource, "all")
	tenant.Grant(app.ID, "https://nowhere.api", "x")
	tenant.Grant(app.ID, logtotest.ManagementResource, "x")
	tenant.AddSecret("nope", logtotest.Secret{Name: "x"})
	tenant.DeleteSecret(app.ID, "nope")
	tenant.Revoke("nope", "x")
	tenant.AssignRole(app.ID, "nope")
	tenant.JoinOrganization("nope", app.ID, "")
	tenant.JoinOrganization(tenant.AddOrganization(), "nope", "")
	tenant.AddUser(logtotest.User{ID: "ann000000000"})
	tenant.SetCustomData("nope", nil)
	want := []string{
		`logtotest: no app "nope": make it with AddApp`,
		`logtotest: no API resource "https://nowhere.api": make it with AddResource`,
		`logtotest: API resource "https://default.logto.app/api" has no scope "x": add it with AddResource`,
		`logtotest: no app "nope": make it with AddApp`,
		`logtotest: app "` + app.ID + `" has no secret "nope"`,
		`logtotest: no app "nope": make it with AddApp`,
		`logtotest: no role "nope": make it with AddRole`,
		`logtotest: no organization "nope": make it with AddOrganization`,
		`logtotest: no app "nope": make it with AddApp`,
		`logtotest: a user "ann000000000" exists already`,
		`logtotest: no user "nope": add it with AddUser`,
	}
	if diff := cmp.Diff(want, n.errors); diff != "" {
		t.Error(diff)
	}
}
