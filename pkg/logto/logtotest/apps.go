package logtotest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"
)

// ManagementResource is the indicator of the tenant's Management API.
const ManagementResource = "https://default.logto.app/api"

// DefaultSecret is the name of an app's first secret, for DeleteSecret (recorded: secrets-list).
const DefaultSecret = "Default secret"

// App is a machine-to-machine app with its first secret, which is called DefaultSecret.
type App struct{ ID, Secret string }

// Secret is an app secret. An app may have several, each with a name.
type Secret struct {
	Name      string
	Value     string    // empty: one is made
	ExpiresAt time.Time // zero: never
}

type app struct {
	id, name  string
	createdAt time.Time
	secrets   []*secret // oldest first
	roles     []*role   // oldest first
}

type secret struct {
	Secret
	createdAt time.Time
}

func (a *app) secretWithValue(value string) *secret {
	for _, s := range a.secrets {
		if s.Value == value {
			return s
		}
	}
	return nil
}

// AddApp makes a machine-to-machine app with one secret and no role.
func (t *Tenant) AddApp(name string) App {
	a := App{ID: newID(), Secret: newSecret()}
	t.AddAppAs(name, a)
	return a
}

// AddAppAs is AddApp with an id and a first secret that are known already: those of a tenant that was there before, or of a
// file that others read, too.
func (t *Tenant) AddAppAs(name string, as App) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.apps[as.ID] != nil {
		t.fail("an app %q exists already", as.ID)
		return
	}
	a := &app{id: as.ID, name: name, createdAt: t.now()}
	a.secrets = []*secret{{Secret{Name: DefaultSecret, Value: as.Secret}, a.createdAt}}
	t.apps[a.id] = a
}

// AddSecret gives the app one more secret and returns it with its value. ExpiresAt may be past, which the Management API
// refuses.
func (t *Tenant) AddSecret(appID string, s Secret) Secret {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.appOrFail(appID)
	if a == nil {
		return s
	}
	if s.Value == "" {
		s.Value = newSecret()
	}
	a.secrets = append(a.secrets, &secret{s, t.now()})
	return s
}

// DeleteSecret deletes a secret of the app.
func (t *Tenant) DeleteSecret(appID, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.appOrFail(appID); a != nil && !a.deleteSecret(name) {
		t.fail("app %q has no secret %q", appID, name)
	}
}

func (a *app) deleteSecret(name string) bool {
	before := len(a.secrets)
	a.secrets = slices.DeleteFunc(a.secrets, func(s *secret) bool { return s.Name == name })
	return len(a.secrets) < before
}

// DeleteApp deletes the app: its tokens stay valid until they expire, as with Logto.
func (t *Tenant) DeleteApp(appID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.apps, appID)
}

func (t *Tenant) appOrFail(id string) *app {
	a := t.apps[id]
	if a == nil {
		t.fail("no app %q: make it with AddApp", id)
	}
	return a
}

// withApp runs h with the app of the path, under the lock.
func (t *Tenant) withApp(r *http.Request, h func(*app) answer) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := r.PathValue("id")
	a := t.apps[id]
	if a == nil {
		return apiError(http.StatusNotFound, "entity.not_exists_with_id", "The applications with ID `"+id+"` does not exist.")
	}
	return h(a)
}

func (t *Tenant) getApp(r *http.Request) answer {
	return t.withApp(r, func(a *app) answer {
		isAdmin := slices.Contains(t.appScopes(a.id, ManagementResource), "all")
		return answer{status: http.StatusOK, body: fields{
			{"tenantId", tenantID}, {"id", a.id}, {"name", a.name}, {"description", nil}, {"type", machineToMachine},
			{"oidcClientMetadata", fields{{"redirectUris", []string{}}, {"postLogoutRedirectUris", []string{}}}},
			{"customClientMetadata", fields{}}, {"protectedAppMetadata", nil}, {"customData", fields{}},
			{"isThirdParty", false}, {"appLevelAccessControlEnabled", false},
			{"createdAt", millis(a.createdAt)}, {"isAdmin", isAdmin},
		}}
	})
}

func (s *secret) json(appID string) fields {
	var expires any
	if !s.ExpiresAt.IsZero() {
		expires = millis(s.ExpiresAt)
	}
	return fields{{"tenantId", tenantID}, {"applicationId", appID}, {"name", s.Name}, {"value", s.Value},
		{"createdAt", millis(s.createdAt)}, {"expiresAt", expires}}
}

func (t *Tenant) listSecrets(r *http.Request) answer {
	return t.withApp(r, func(a *app) answer {
		list := make([]fields, len(a.secrets))
		for i, s := range a.secrets {
			list[i] = s.json(a.id)
		}
		return answer{status: http.StatusOK, body: list}
	})
}

func (t *Tenant) createSecret(r *http.Request) answer {
	body, err := readBody(r)
	if errors.Is(err, errTooLarge) {
		return notFoundText()
	}
	if err != nil {
		return internalError()
	}
	var in struct {
		Name      string `json:"name"`
		ExpiresAt *int64 `json:"expiresAt"`
	}
	if isJSON(r) {
		if err := json.Unmarshal(body, &in); err != nil {
			return badJSON(err)
		}
	}
	if in.Name == "" {
		return invalidType("name", "string", "undefined")
	}
	return t.withApp(r, func(a *app) answer {
		now := t.now()
		s := &secret{Secret{Name: in.Name, Value: newSecret()}, now}
		if in.ExpiresAt != nil {
			if s.ExpiresAt = time.UnixMilli(*in.ExpiresAt); !s.ExpiresAt.After(now) {
				return apiError(http.StatusBadRequest, "request.invalid_input",
					"Input is invalid. The value of `expiresAt` must be in the future.")
			}
		}
		if slices.ContainsFunc(a.secrets, func(s *secret) bool { return s.Name == in.Name }) {
			return apiError(http.StatusUnprocessableEntity, "application.secret_name_exists", "Secret name already exists.")
		}
		a.secrets = append(a.secrets, s)
		return answer{status: http.StatusCreated, body: s.json(a.id)}
	})
}

func (t *Tenant) deleteSecret(r *http.Request) answer {
	return t.withApp(r, func(a *app) answer {
		if !a.deleteSecret(r.PathValue("name")) {
			return notFound()
		}
		return answer{status: http.StatusNoContent}
	})
}
