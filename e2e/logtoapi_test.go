//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// called is a call that the official client made, with what it returned.
type called struct {
	Call   string
	Status int
	Total  *string // the header Total-Number
	Data   any
	Error  any
}

// callAll has the official client do its calls at a tenant.
func callAll(t *testing.T, settings map[string]string) []called {
	t.Helper()
	modules, err := emulator.Tool("logto-api/package.json")
	if err != nil {
		t.Fatal(err)
	}
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(root, "e2e", "emulator", "logto-api.mjs"), filepath.Dir(modules))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("the client: %v\n%s", err, &stderr)
	}
	var calls []called
	if err := json.Unmarshal(stdout.Bytes(), &calls); err != nil {
		t.Fatal(err)
	}
	return calls
}

// part is what stands in v at a path such as "0.name"; nil where there is nothing.
func part(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			if name == "length" {
				return float64(len(in))
			}
			if i := strings.Index("0123456789", name); i >= 0 && i < len(in) {
				v = in[i]
				continue
			}
			return nil
		default:
			return nil
		}
	}
	return v
}

func TestOfficialClientGetsWhatItExpectsOfEachCallOfTheTenant(t *testing.T) {
	t.Parallel()
	tenant := logtotest.New(t)
	app := tenant.AddApp("official")
	role := tenant.AddRole(logtotest.Role{Name: "may all", Scopes: map[string][]string{logtotest.ManagementResource: {"all"}}})
	tenant.AssignRole(app.ID, role)
	hook := tenant.AddHook("http://127.0.0.1:1/nobody", logtotest.UserCreated)
	got := callAll(t, map[string]string{"endpoint": tenant.URL, "appId": app.ID, "appSecret": app.Secret, "roleId": role, "hookId": hook.ID})

	type parts map[string]any
	want := []struct {
		call   string
		status int
		total  string
		parts  parts // of the data, or of the error where the status is one
	}{
		{"POST /api/users", 200, "", parts{"primaryEmail": "ann@example.com", "username": "ann", "customData.plan": "free", "isSuspended": false}},
		{"POST /api/users", 200, "", parts{"primaryEmail": "bob@example.com", "username": nil}},
		{"POST /api/users", 422, "", parts{"code": "user.email_already_in_use"}},
		{"GET /api/users", 200, "2", parts{"length": 1.0, "0.primaryEmail": "bob@example.com"}},
		{"GET /api/users", 200, "1", parts{"length": 1.0, "0.username": "ann"}},
		{"GET /api/users", 200, "2", parts{"length": 2.0}},
		{"GET /api/users", 400, "", parts{"code": "request.invalid_input"}},
		{"GET /api/users/{userId}", 200, "", parts{"username": "ann", "customData.plan": "free"}},
		{"PATCH /api/users/{userId}", 200, "", parts{"name": "Ann", "username": "ann"}},
		{"PATCH /api/users/{userId}/custom-data", 200, "", parts{"plan": "free", "seats": 3.0}},
		{"PATCH /api/users/{userId}/custom-data", 400, "", parts{"code": "guard.invalid_input"}},
		{"GET /api/users/{userId}/custom-data", 200, "", parts{"plan": "free", "seats": 3.0}},
		{"PATCH /api/users/{userId}/is-suspended", 200, "", parts{"isSuspended": true}},
		{"DELETE /api/users/{userId}", 204, "", nil},
		{"GET /api/users/{userId}", 404, "", parts{"code": "entity.not_found"}},
		{"GET /api/applications/{id}", 200, "", parts{"name": "official", "type": "MachineToMachine", "isAdmin": true}},
		{"GET /api/applications/{id}", 404, "", parts{"code": "entity.not_exists_with_id"}},
		{"GET /api/applications/{applicationId}/roles", 200, "", parts{"length": 1.0, "0.name": "may all"}},
		{"POST /api/applications/{id}/secrets", 201, "", parts{"name": "next/one", "expiresAt": nil}},
		{"POST /api/applications/{id}/secrets", 422, "", parts{"code": "application.secret_name_exists"}},
		{"GET /api/applications/{id}/secrets", 200, "", parts{"length": 2.0, "0.name": "Default secret", "1.name": "next/one"}},
		{"DELETE /api/applications/{id}/secrets/{name}", 204, "", nil},
		{"GET /api/roles/{id}/scopes", 200, "", parts{"length": 1.0, "0.name": "all", "0.resource.indicator": logtotest.ManagementResource}},
		{"GET /api/resources", 200, "", parts{"0.indicator": logtotest.ManagementResource, "0.scopes.0.name": "all"}},
		{"GET /api/logs", 200, "1", parts{"0.payload.result": "Success", "0.payload.applicationId": app.ID}},
		{"GET /api/hooks/{id}/recent-logs", 200, "2", parts{"0.payload.result": "Error", "1.payload.hookRequest.body.data.username": "ann"}},
	}
	for i, w := range want {
		if i >= len(got) {
			t.Fatalf("%d calls, want %d", len(got), len(want))
		}
		g := got[i]
		if g.Call != w.call || g.Status != w.status || w.total != "" && (g.Total == nil || *g.Total != w.total) {
			t.Errorf("call %d is %s, answered %d; want %s, %d and a total of %q", i, g.Call, g.Status, w.call, w.status, w.total)
		}
		answer := g.Data
		if w.status >= 400 {
			answer = g.Error
		}
		for path, value := range w.parts {
			if diff := cmp.Diff(value, part(answer, path)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", w.call, path, diff)
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d calls, want %d", len(got), len(want))
	}
	if n := tenant.Requests("POST /oidc/token"); n != 1 {
		t.Errorf("the client asked for %d tokens, want 1", n)
	}
	for _, route := range tenant.Routes() {
		if _, path, _ := strings.Cut(route, " "); strings.HasPrefix(path, "/api/") && tenant.Requests(route) == 0 {
			t.Errorf("the tenant serves %s, and the official client was not seen to call it", route)
		}
	}
}
