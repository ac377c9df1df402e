package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Source is the source of the events on the bus.
const Source = "logto"

// UserAgent begins the User-Agent of the project's own requests to Logto: updates that they cause are not put on the bus.
const UserAgent = logto.UserAgent

// Limits of what stands beside an event's data. Logto's own values are far shorter.
const (
	maxName  = 128 // EventBridge's limit of a detail-type
	maxID    = 128
	maxRoute = 512
)

// maxEntry is EventBridge's limit of an event: detail, source and detail-type together.
const maxEntry = 256 << 10

// Event is the detail of an event on the bus. A job that a rule starts takes it as its parameters.
type Event struct {
	Event     string    `json:"event"`            // Logto's name: "User.Created"
	CreatedAt time.Time `json:"createdAt"`        // when Logto fired it
	HookID    string    `json:"hookId"`           // the webhook that it came by
	UserID    string    `json:"userId,omitempty"` // the user it is about; empty if it is about something else
	// MatchedRoute is the Management API's route that caused it, as "/users/:userId"; empty if no such request did.
	MatchedRoute string `json:"matchedRoute,omitempty"`
	// Delivery is the Digest of the webhook's body: the same for an event that is put on the bus twice.
	Delivery string `json:"delivery"`
	// Data has the fields of the event's subject that EVENT_FIELDS lists, as Logto sent them. Custom data is the field
	// customData, in each event.
	Data map[string]json.RawMessage `json:"data"`
	// DataOmitted says that Data was left out because EventBridge takes no event of that size.
	DataOmitted bool `json:"dataOmitted,omitempty"`
}

// eventName is what Logto's events look like: PostSignIn, User.Data.Updated.
var eventName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*$`)

// Routes that answer a part of the user, which is then the event's data, instead of the user.
const (
	customDataRoute = "/users/:userId/custom-data" // recorded: webhook-custom-data-updated
	profileRoute    = "/users/:userId/profile"     // Logto's source; not recorded
)

// delivery is a webhook's body.
type delivery struct {
	fields    map[string]json.RawMessage
	event     string
	createdAt time.Time
	hookID    string
	userID    string
	route     string
	digest    string
}

// parse reads a webhook's body. Its errors name members, never what stands in them.
func parse(body []byte) (*delivery, error) {
	d := &delivery{}
	if err := json.Unmarshal(body, &d.fields); err != nil || d.fields == nil {
		return nil, errors.New("the body is not a JSON object")
	}
	d.event = d.text("event")
	if len(d.event) > maxName || !eventName.MatchString(d.event) {
		return nil, errors.New(`"event" is not the name of an event of Logto`)
	}
	var err error
	if d.createdAt, err = time.Parse(time.RFC3339, d.text("createdAt")); err != nil {
		return nil, errors.New(`"createdAt" is not a time`)
	}
	if d.hookID = d.text("hookId"); d.hookID == "" || len(d.hookID) > maxID {
		return nil, errors.New(`"hookId" is not the id of a webhook`)
	}
	if d.route = d.text("matchedRoute"); len(d.route) > maxRoute {
		return nil, errors.New(`"matchedRoute" is too long for a route`)
	}
	if d.userID = d.user(); len(d.userID) > maxID {
		return nil, errors.New("the user's id is too long for an id")
	}
	d.digest, err = Digest(body)
	return d, err
}

// text is a member that is a string; empty if it is not.
func (d *delivery) text(name string) string { return text(d.fields[name]) }

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// object is a member that is an object; nil if it is not.
func (d *delivery) object(name string) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(d.fields[name], &fields) != nil {
		return nil
	}
	return fields
}

// user is the id of the user that the event is about. data is the last place to look: it may be the custom data, whose
// "id" is anything, and of other events it is a role or an organization.
func (d *delivery) user() string {
	if id := text(d.object("params")["userId"]); id != "" {
		return id
	}
	if id := d.text("userId"); id != "" {
		return id
	}
	if strings.HasPrefix(d.event, "User.") && d.route != customDataRoute && d.route != profileRoute {
		return text(d.object("data")["id"])
	}
	return ""
}

// isEcho tells whether the event may have been caused by a write of the project's own.
func (d *delivery) isEcho() bool {
	return d.event == "User.Data.Updated" &&
		(d.route == customDataRoute || strings.HasPrefix(d.text("userAgent"), UserAgent))
}

// subject is what the event is about: mostly the user.
func (d *delivery) subject() (map[string]json.RawMessage, error) {
	part := map[string]string{customDataRoute: "customData", profileRoute: "profile"}[d.route]
	switch {
	case part != "":
		id, err := json.Marshal(d.userID)
		return map[string]json.RawMessage{"id": id, part: d.fields["data"]}, err
	case d.fields["data"] != nil:
		return d.object("data"), nil
	}
	return d.object("user"), nil // of an interaction: PostSignIn and its like
}

// detail is the event on the bus as JSON, with these fields of the subject.
func (d *delivery) detail(fields []string) ([]byte, error) {
	subject, err := d.subject()
	if err != nil {
		return nil, fmt.Errorf("the user's id: %w", err)
	}
	e := Event{
		Event: d.event, CreatedAt: d.createdAt, HookID: d.hookID, UserID: d.userID, MatchedRoute: d.route,
		Delivery: d.digest, Data: map[string]json.RawMessage{},
	}
	for _, field := range fields {
		if value, ok := subject[field]; ok {
			e.Data[field] = value
		}
	}
	data, err := marshal(e)
	if err == nil && len(data)+len(Source)+len(d.event) > maxEntry {
		e.Data, e.DataOmitted = map[string]json.RawMessage{}, true
		data, err = marshal(e)
	}
	return data, err
}

// marshal writes JSON as it came: the escapes that encoding/json makes of < and > would lengthen it sixfold.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("writing the event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Digest identifies a delivery by its body: SHA-256 in hexadecimal of the JSON with its keys sorted and without space, as
// Logto's log gives the body back with its keys in another order than it was sent in.
func Digest(body []byte) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return "", errors.New("the body is not JSON")
	}
	sorted, err := marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(sorted)
	return hex.EncodeToString(sum[:]), nil
}
