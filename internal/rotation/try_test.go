package rotation_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const shopping = "https://shopping.api"

// ordersRotation rotates the file of an app that may read orders and no more, by access of the tenant's own.
func (w *world) ordersRotation() (logtotest.App, *rotation.Rotation) {
	w.Helper()
	app := w.tenant.AddApp("daily-orders")
	w.tenant.AddResource(shopping, "read:orders", "read:products")
	w.writeFile(map[string]string{"endpoint": w.tenant.URL, "appId": app.ID, "appSecret": app.Secret})
	return app, rotation.New(rotation.Config{
		Place: rotation.File(w.path),
		Logto: func(context.Context, m2m.Credentials) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: w.tenant.URL, HTTPClient: w.tenant.ManagementClient()})
		},
		HTTPClient: &http.Client{Transport: w.base},
	})
}

func TestTheNewSecretIsTriedWithEachAPIThatTheRolesName(t *testing.T) {
	inWorld(t, func(w *world) {
		app, r := w.ordersRotation()
		w.tenant.Grant(app.ID, shopping, "read:orders", "read:products")
		w.tenant.Grant(app.ID, logtotest.ManagementResource, "all")
		if _, err := r.Rotate(w.Context(), "one", false); err != nil {
			t.Fatal(err)
		}
		// Two APIs, each with the old secret and with the new one.
		if n := w.tenant.Requests("POST /oidc/token"); n != 4 {
			t.Errorf("%d token requests, want 4", n)
		}
	})
}

func TestAnAppWithoutARoleIsRotatedToo(t *testing.T) {
	inWorld(t, func(w *world) {
		_, r := w.ordersRotation()
		if _, err := r.Rotate(w.Context(), "one", false); err != nil {
			t.Fatal(err)
		}
		w.use(w.file())
	})
}

func TestASecretThatDoesNotWorkDoesNotBecomeCurrent(t *testing.T) {
	for name, spoil := range map[string]func(w *world, app logtotest.App){
		"deleted": func(w *world, app logtotest.App) {
			for _, name := range ours(w.secretsOf(app.ID)) {
				w.tenant.DeleteSecret(app.ID, name)
			}
		},
		"refused": func(w *world, _ logtotest.App) {
			w.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", After: 1, Status: 401, Body: `{"error":"invalid_client"}`})
		},
		"fewer scopes": func(w *world, _ logtotest.App) {
			w.tenant.Inject(logtotest.Fault{Route: "POST /oidc/token", After: 1, Status: 200,
				Body: `{"access_token":"x","expires_in":3600,"token_type":"Bearer","scope":"read:products"}`})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				app, r := w.ordersRotation()
				w.tenant.Grant(app.ID, shopping, "read:orders", "read:products")
				before := w.file()["appSecret"]
				if err := r.Create(w.Context(), "one"); err != nil {
					t.Fatal(err)
				}
				spoil(w, app)
				_, err := r.Rotate(w.Context(), "", false)
				if err == nil || !strings.Contains(err.Error(), "new secret") {
					t.Errorf("%v, want an error about the new secret", err)
				}
				if w.file()["appSecret"] != before {
					t.Error("it is current now")
				}
			})
		})
	}
}

func TestARotationMendsASecretThatIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		app, r := w.ordersRotation()
		w.tenant.Grant(app.ID, shopping, "read:orders")
		w.tenant.DeleteSecret(app.ID, logtotest.DefaultSecret)
		if _, err := r.Rotate(w.Context(), "one", false); err != nil {
			t.Fatal(err)
		}
		w.use(w.file())
	})
}

func TestCredentialsThatWereReplacedByHandAreNotOverwritten(t *testing.T) {
	inWorld(t, func(w *world) {
		_, r := w.ordersRotation()
		if err := r.Create(w.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		other := w.tenant.AddApp("another")
		mine := map[string]string{"endpoint": w.tenant.URL, "appId": other.ID, "appSecret": other.Secret}
		w.writeFile(mine)
		for what, step := range map[string]func(context.Context, string) error{"test": r.Test, "finish": r.Finish} {
			if err := step(w.Context(), "one"); err == nil || !strings.Contains(err.Error(), "another app or tenant") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if w.file()["appId"] != other.ID {
			t.Error("the credentials of that hand are gone")
		}
	})
}

func TestTheCurrentSecretMustBeOneOfTheApps(t *testing.T) {
	inWorld(t, func(w *world) {
		app, r := w.ordersRotation()
		w.tenant.DeleteSecret(app.ID, logtotest.DefaultSecret)
		if _, err := r.Clean(w.Context(), false); err == nil || !strings.Contains(err.Error(), "none of app "+app.ID) {
			t.Errorf("%v", err)
		}
	})
}

func TestAVersionThatHasNoValueTriesTheCurrentOne(t *testing.T) {
	inWorld(t, func(w *world) {
		app, r := w.ordersRotation()
		if err := r.Test(w.Context(), "announced"); err != nil {
			t.Error(err)
		}
		w.tenant.DeleteSecret(app.ID, logtotest.DefaultSecret)
		if err := r.Test(w.Context(), "announced"); !errors.Is(err, m2m.ErrWrongSecret) {
			t.Errorf("%v, want ErrWrongSecret", err)
		}
	})
}

func TestStatusHasBothSides(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		old := ours(w.secrets())[0]
		w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "by hand"})
		time.Sleep(time.Hour)
		current := w.rotate()
		time.Sleep(time.Hour)
		if err := w.rotation(nil).Create(w.Context(), "stalled"); err != nil {
			t.Fatal(err)
		}
		s, err := w.rotation(nil).Status(w.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.AppID != w.app.ID || s.Endpoint != w.tenant.URL || len(s.Place.Versions) != 2 {
			t.Errorf("%+v", s)
		}
		want := []struct {
			role    rotation.Role
			version string
			used    time.Duration // after the beginning; -1: never
		}{
			{rotation.RoleOther, "", 0}, {rotation.RoleLeft, old[len(old)-36:], time.Hour}, {rotation.RoleOther, "", -1},
			{rotation.RoleCurrent, current, 2 * time.Hour}, {rotation.RolePending, "stalled", -1},
		}
		for i, one := range s.Secrets {
			used := time.Duration(-1)
			if !one.LastUse.IsZero() {
				used = one.LastUse.Sub(w.began)
			}
			if one.Role != want[i].role || one.Version != want[i].version || used != want[i].used {
				t.Errorf("%s: %s %q used %v, want %+v", one.Name, one.Role, one.Version, used, want[i])
			}
		}
	})
}
