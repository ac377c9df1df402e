package logtotest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// orNull is a property as Logto shows it: a missing one is null.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// shared are the members of a user in every answer and webhook.
func (u *user) shared() fields {
	return fields{
		{"id", u.id}, {"username", orNull(u.username)}, {"primaryEmail", orNull(u.email)}, {"primaryPhone", orNull(u.phone)},
		{"name", orNull(u.name)}, {"avatar", orNull(u.avatar)}, {"customData", u.customData}, {"identities", fields{}},
		{"lastSignInAt", nil}, {"createdAt", millis(u.createdAt)}, {"updatedAt", millis(u.updatedAt)}, {"profile", u.profile},
		{"applicationId", nil}, {"cimdClientId", nil}, {"isSuspended", u.suspended},
	}
}

func (u *user) json() fields { return append(u.shared(), field{"hasPassword", false}) }

// badJSON is the answer to a body that is not JSON (recorded: custom-data-patch-bad-json). Only the message for a body that
// ends too early is known.
func badJSON(err error) answer {
	message := "Unexpected token in JSON"
	var syntax *json.SyntaxError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &syntax) && strings.Contains(syntax.Error(), "unexpected end") {
		message = "Unexpected end of JSON input"
	}
	return answer{status: http.StatusBadRequest, body: fields{{"message", message}}}
}

// invalidType is the answer to a member of a wrong type (recorded: custom-data-patch-array, -string, -no-wrapper).
func invalidType(member, expected, received string) answer {
	message := fmt.Sprintf("Expected %s, received %s", expected, received)
	if received == "undefined" {
		message = "Required"
	}
	return apiErrorWith(http.StatusBadRequest, "guard.invalid_input", "The request body is invalid.",
		fields{
			{"issues", []fields{{{"code", "invalid_type"}, {"expected", expected}, {"received", received},
				{"path", []string{member}}, {"message", message}}}},
			{"name", "ZodError"},
		},
		fmt.Sprintf("Error in key path %q: (invalid_type) Expected %s but received %s.", member, expected, received))
}

// typeName is what JavaScript calls the type of a value.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// userBody reads the body of a request about a user; without a JSON content type there is none. An answer is a refusal.
func userBody(r *http.Request) (members map[string]any, damaged bool, refused *answer) {
	refuse := func(a answer) (map[string]any, bool, *answer) { return nil, false, &a }
	raw, err := readBody(r)
	if errors.Is(err, errTooLarge) {
		return refuse(notFoundText())
	}
	if err != nil {
		return refuse(internalError())
	}
	if !isJSON(r) || len(raw) == 0 {
		return nil, false, nil
	}
	v, err := parseJSON(raw)
	if err != nil {
		return refuse(badJSON(err))
	}
	members, ok := v.(map[string]any)
	if !ok {
		return refuse(answer{status: http.StatusBadRequest, body: fields{{"message", "invalid JSON, only supports object and array"}}})
	}
	return members, unstorable(raw), nil
}

// customDataOf takes customData out of a body; required tells whether it must be there.
func customDataOf(members map[string]any, required bool) (map[string]any, *answer) {
	v, ok := members["customData"]
	if !ok && !required {
		return nil, nil
	}
	data, isObject := v.(map[string]any)
	if isObject {
		return data, nil
	}
	received := "undefined"
	if ok {
		received = typeName(v)
	}
	a := invalidType("customData", "object", received)
	return nil, &a
}

func (t *Tenant) getUser(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(r.PathValue("id"))
	if u == nil {
		return notFound()
	}
	return answer{status: http.StatusOK, body: u.json()}
}

func (t *Tenant) getCustomData(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(r.PathValue("id"))
	if u == nil {
		return notFound()
	}
	return answer{status: http.StatusOK, body: u.customData}
}

// patchCustomData merges at the top level (recorded: custom-data-patch-1, -2-nested, -3-null).
func (t *Tenant) patchCustomData(r *http.Request) answer {
	members, damaged, refused := userBody(r)
	if refused != nil {
		return *refused
	}
	data, refused := customDataOf(members, true)
	if refused != nil {
		return *refused
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(r.PathValue("id"))
	if u == nil {
		return notFound()
	}
	if damaged {
		return internalError()
	}
	t.setCustomData(u, merged(u.customData, data))
	t.fireCustomData(u, r.UserAgent())
	return answer{status: http.StatusOK, body: u.customData}
}

// patchUser changes what the body names; customData is replaced whole (recorded: user-patch-custom-data-replaces).
func (t *Tenant) patchUser(r *http.Request) answer {
	members, damaged, refused := userBody(r)
	if refused != nil {
		return *refused
	}
	data, refused := customDataOf(members, false)
	if refused != nil {
		return *refused
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(r.PathValue("id"))
	if u == nil {
		return notFound()
	}
	changed := *u
	if refused := changed.setProperties(members); refused != nil {
		return *refused
	}
	if refused := t.taken(&changed); refused != nil {
		return *refused
	}
	if damaged {
		return internalError()
	}
	if data != nil {
		changed.customData = data
	}
	changed.updatedAt = t.now()
	t.users.unindex(u)
	*u = changed
	t.users.index(u)
	t.fireUpdated(u, r.UserAgent())
	return answer{status: http.StatusOK, body: u.json()}
}

// setProperties takes the text properties out of a body; null clears one.
func (u *user) setProperties(members map[string]any) *answer {
	for _, p := range []struct {
		name string
		to   *string
	}{{"username", &u.username}, {"primaryEmail", &u.email}, {"primaryPhone", &u.phone}, {"name", &u.name}, {"avatar", &u.avatar}} {
		switch v := members[p.name].(type) {
		case string:
			*p.to = v
		case nil:
			if _, ok := members[p.name]; ok {
				*p.to = ""
			}
		default:
			a := invalidType(p.name, "string", typeName(v))
			return &a
		}
	}
	if profile, ok := members["profile"].(map[string]any); ok {
		u.profile = merged(u.profile, profile)
	}
	return nil
}

// taken refuses a username, e-mail address or phone number that another user has. The caller holds t.mu.
func (t *Tenant) taken(u *user) *answer {
	for _, p := range []struct{ property, value, code, message string }{
		{"username", u.username, "user.username_already_in_use", "This username is already in use."},
		{"primaryEmail", u.email, "user.email_already_in_use", "This email is associated with an existing account."},
		{"primaryPhone", u.phone, "user.phone_already_in_use", "This phone number is associated with an existing account."},
	} {
		for _, o := range t.users.exact[p.property][p.value] {
			if o.id != u.id {
				a := apiError(http.StatusUnprocessableEntity, p.code, p.message)
				return &a
			}
		}
	}
	return nil
}

func (t *Tenant) patchSuspended(r *http.Request) answer {
	members, _, refused := userBody(r)
	if refused != nil {
		return *refused
	}
	v, given := members["isSuspended"]
	suspended, ok := v.(bool)
	if !given {
		return invalidType("isSuspended", "boolean", "undefined")
	}
	if !ok {
		return invalidType("isSuspended", "boolean", typeName(v))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(r.PathValue("id"))
	if u == nil {
		return notFound()
	}
	u.suspended, u.updatedAt = suspended, t.now()
	t.fireSuspended(u, r.UserAgent())
	return answer{status: http.StatusOK, body: u.json()}
}

func (t *Tenant) createUser(r *http.Request) answer {
	members, damaged, refused := userBody(r)
	if refused != nil {
		return *refused
	}
	data, refused := customDataOf(members, false)
	if refused != nil {
		return *refused
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	u := &user{id: newUserID(), customData: object{}, profile: object{}, createdAt: now, updatedAt: now}
	if refused := u.setProperties(members); refused != nil {
		return *refused
	}
	if refused := t.taken(u); refused != nil {
		return *refused
	}
	if damaged {
		return internalError()
	}
	if data != nil {
		u.customData = data
	}
	t.users.add(u)
	t.fireCreated(u, r.UserAgent())
	return answer{status: http.StatusOK, body: u.json()}
}

func (t *Tenant) deleteUser(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.byID(r.PathValue("id"))
	if u == nil {
		return notFound()
	}
	t.users.remove(u)
	t.fireDeleted(u, r.UserAgent())
	return answer{status: http.StatusNoContent}
}
