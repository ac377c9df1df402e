package logtotest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// A secret is rotated over the Management API: make the next, use it, delete the old one.
func TestASecretIsRotatedOverTheAPI(t *testing.T) {
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	c, address := tenant.ManagementClient(), tenant.URL+"/api/applications/"+app.ID+"/secrets"
	status, _, body := send(t, c, http.MethodPost, address, `{"name":"next"}`)
	var made struct{ Value string }
	if err := json.Unmarshal(body, &made); err != nil || status != http.StatusCreated || !appSecret.MatchString(made.Value) {
		t.Fatalf("%d, %v", status, err)
	}
	if status, _ := askToken(t, tenant, logtotest.App{ID: app.ID, Secret: made.Value}, management()); status != http.StatusOK {
		t.Errorf("the next secret: %d", status)
	}
	if status, _, _ := send(t, c, http.MethodDelete, address+"/Default%20secret", ""); status != http.StatusNoContent {
		t.Errorf("deleting the old one: %d", status)
	}
	if status, _ := askToken(t, tenant, app, management()); status != http.StatusUnauthorized {
		t.Errorf("the old secret: %d", status)
	}
	for _, tt := range []struct {
		method, address, body string
		status                int
	}{
		{"POST", address, `{"name":""}`, 400}, {"POST", address, `{`, 400}, {"POST", address, strings.Repeat(" ", 2<<20), 404},
		{"POST", tenant.URL + "/api/applications/nope/secrets", `{"name":"x"}`, 404}, {"GET", tenant.URL + "/api/roles/nope/scopes", "", 404},
		{"GET", tenant.URL + "/api/resources", "", 200}, {"GET", tenant.URL + "/api/logs?page=0", "", 400},
		{"GET", tenant.URL + "/api/applications/" + app.ID + "/roles?page_size=0", "", 400},
	} {
		if status, _, body := send(t, c, tt.method, tt.address, tt.body); status != tt.status {
			t.Errorf("%s %s: %d %.100s", tt.method, tt.address, status, body)
		}
	}
}

func TestAnAppHasTheIDAndTheSecretThatItIsGiven(t *testing.T) {
	n := &notes{TB: t}
	tenant := logtotest.NewWith(n, logtotest.Config{})
	known := logtotest.App{ID: "syncsyncsyncsyncsync0", Secret: "logtotestSecretKnown0123456789ab"}
	tenant.AddAppAs("sync", known)
	tenant.Grant(known.ID, logtotest.ManagementResource, "all")
	if status, _ := askToken(t, tenant, known, management()); status != http.StatusOK {
		t.Errorf("its token: %d", status)
	}
	tenant.AddAppAs("another", logtotest.App{ID: known.ID, Secret: "logtotestSecretOther0123456789ab"})
	if want := `logtotest: an app "syncsyncsyncsyncsync0" exists already`; len(n.errors) != 1 || n.errors[0] != want {
		t.Errorf("noted %q, want %q", n.errors, want)
	}
	if status, _ := askToken(t, tenant, known, management()); status != http.StatusOK {
		t.Errorf("its token, once another was refused its id: %d", status)
	}
}
