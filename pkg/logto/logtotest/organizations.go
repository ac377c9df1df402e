package logtotest

// organization is an organization as far as tokens need it.
type organization struct {
	members map[string]map[string][]string // app id -> resource indicator, or "" for the organization's own permissions -> scopes
}

// AddOrganization makes an organization without members and returns its id.
func (t *Tenant) AddOrganization() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := newUserID()
	t.organizations[id] = &organization{members: map[string]map[string][]string{}}
	return id
}

// JoinOrganization makes the app a member of the organization, so that it gets tokens with this organization_id, and grants it
// the scopes of the resource there (an empty resource: the organization's own permissions). More calls grant more.
func (t *Tenant) JoinOrganization(organizationID, appID, resource string, scopes ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.organizations[organizationID]
	if o == nil {
		t.fail("no organization %q: make it with AddOrganization", organizationID)
		return
	}
	if t.appOrFail(appID) == nil {
		return
	}
	if o.members[appID] == nil {
		o.members[appID] = map[string][]string{}
	}
	o.members[appID][resource] = append(o.members[appID][resource], scopes...)
}
