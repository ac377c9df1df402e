package logtotest

import (
	"net/http"
	"slices"
	"time"
)

const (
	tenantID         = "default"
	machineToMachine = "MachineToMachine"
)

type resource struct {
	id, name, indicator string
	isDefault           bool
	scopes              []*scope
}

type scope struct {
	id, name, description string
	resource              *resource
	createdAt             time.Time
}

type role struct {
	id, name, description string
	scopes                []*scope
}

// Role is a role for machine-to-machine apps. Grant makes one by itself; AddRole is for tests that look at roles.
type Role struct {
	Name        string
	Description string
	Scopes      map[string][]string // scopes by resource indicator
}

// addManagementAPI makes the resource that every tenant has.
func (t *Tenant) addManagementAPI() {
	r := &resource{id: "management-api", name: "Logto Management API", indicator: ManagementResource}
	r.scopes = []*scope{{"management-api-all", "all", "Default scope for Management API, allows all permissions.", r, t.now()}}
	t.resources = []*resource{r}
}

// AddResource makes an API resource with scopes, or adds scopes to the one there is.
func (t *Tenant) AddResource(indicator string, scopes ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.resource(indicator)
	if r == nil {
		r = &resource{id: newID(), name: indicator, indicator: indicator}
		t.resources = append(t.resources, r)
	}
	for _, name := range scopes {
		if r.scope(name) == nil {
			r.scopes = append(r.scopes, &scope{newID(), name, name, r, t.now()})
		}
	}
}

// SetDefaultResource makes the resource the tenant's default one, which tokens are for where none is asked. Empty: none is.
func (t *Tenant) SetDefaultResource(indicator string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.resources {
		r.isDefault = r.indicator == indicator
	}
}

// defaultResource returns the indicator of the default resource, if there is one. The caller holds t.mu.
func (t *Tenant) defaultResource() []string {
	for _, r := range t.resources {
		if r.isDefault {
			return []string{r.indicator}
		}
	}
	return nil
}

// Grant gives the app a role that contains the scopes of the resource.
func (t *Tenant) Grant(appID, resource string, scopes ...string) {
	t.AssignRole(appID, t.AddRole(Role{
		Name:        "role of " + appID + " for " + resource,
		Description: "made by Grant",
		Scopes:      map[string][]string{resource: scopes},
	}))
}

// Revoke takes the scopes of the resource from every role of the app; without scopes, all of them.
func (t *Tenant) Revoke(appID, resource string, scopes ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.appOrFail(appID)
	if a == nil {
		return
	}
	for _, r := range a.roles {
		r.scopes = slices.DeleteFunc(r.scopes, func(s *scope) bool {
			return s.resource.indicator == resource && (len(scopes) == 0 || slices.Contains(scopes, s.name))
		})
	}
}

// AddRole makes a role and returns its id.
func (t *Tenant) AddRole(in Role) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := &role{id: newID(), name: in.Name, description: in.Description}
	for indicator, names := range in.Scopes {
		r := t.resource(indicator)
		if r == nil {
			t.fail("no API resource %q: make it with AddResource", indicator)
			continue
		}
		for _, name := range names {
			if s := r.scope(name); s != nil {
				out.scopes = append(out.scopes, s)
			} else {
				t.fail("API resource %q has no scope %q: add it with AddResource", indicator, name)
			}
		}
	}
	t.roles[out.id] = out
	return out.id
}

// AssignRole gives the app the role.
func (t *Tenant) AssignRole(appID, roleID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.appOrFail(appID)
	if a == nil {
		return
	}
	r := t.roles[roleID]
	if r == nil {
		t.fail("no role %q: make it with AddRole", roleID)
		return
	}
	a.roles = append(a.roles, r)
}

// resource finds an API resource by its exact indicator. The caller holds t.mu.
func (t *Tenant) resource(indicator string) *resource {
	for _, r := range t.resources {
		if r.indicator == indicator {
			return r
		}
	}
	return nil
}

func (r *resource) scope(name string) *scope {
	for _, s := range r.scopes {
		if s.name == name {
			return s
		}
	}
	return nil
}

// appScopes are the scopes of a resource that the app's roles contain. The caller holds t.mu.
func (t *Tenant) appScopes(appID, indicator string) []string {
	var names []string
	for _, r := range t.apps[appID].roles {
		for _, s := range r.scopes {
			if s.resource.indicator == indicator {
				names = append(names, s.name)
			}
		}
	}
	return names
}

func (t *Tenant) appRoles(r *http.Request) answer {
	page, refused := pageOf(r)
	if refused != nil {
		return *refused
	}
	return t.withApp(r, func(a *app) answer {
		list := make([]fields, 0, len(a.roles))
		for _, role := range slice(a.roles, page) {
			list = append(list, fields{{"tenantId", tenantID}, {"id", role.id}, {"name", role.name},
				{"description", role.description}, {"type", machineToMachine}, {"isDefault", false}})
		}
		return paged(r, page, len(a.roles), list)
	})
}

func (t *Tenant) roleScopes(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	role := t.roles[r.PathValue("id")]
	if role == nil {
		return notFound()
	}
	list := make([]fields, len(role.scopes))
	for i, s := range role.scopes {
		list[i] = append(s.json(), field{"resource", s.resource.json(int64(t.lifetime.Seconds()))})
	}
	return answer{status: http.StatusOK, body: list}
}

func (t *Tenant) listResources(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]fields, len(t.resources))
	for i, res := range t.resources {
		list[i] = res.json(int64(t.lifetime.Seconds()))
		if r.URL.Query().Get("includeScopes") == "true" {
			scopes := make([]fields, len(res.scopes))
			for j, s := range res.scopes {
				scopes[j] = s.json()
			}
			list[i] = append(list[i], field{"scopes", scopes})
		}
	}
	return answer{status: http.StatusOK, body: list}
}

func (r *resource) json(ttl int64) fields {
	return fields{{"tenantId", tenantID}, {"id", r.id}, {"name", r.name}, {"indicator", r.indicator},
		{"isDefault", r.isDefault}, {"accessTokenTtl", ttl}}
}

func (s *scope) json() fields {
	return fields{{"tenantId", tenantID}, {"id", s.id}, {"resourceId", s.resource.id}, {"name", s.name},
		{"description", s.description}, {"createdAt", millis(s.createdAt)}}
}
