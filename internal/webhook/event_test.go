package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyTheListedFieldsAreOnTheBus(t *testing.T) {
	tests := map[string]struct {
		recorded, body string
		fields         []string
		want           string
	}{
		"none":                      {recorded: "user-created", want: `{}`},
		"id":                        {recorded: "user-created", fields: []string{"id"}, want: `{"id":"551vi8z8tdm8"}`},
		"several":                   {recorded: "user-created", fields: []string{"id", "username", "customData"}, want: `{"customData":{"a":1},"id":"551vi8z8tdm8","username":"hook470915"}`},
		"null is there":             {recorded: "user-created", fields: []string{"primaryEmail"}, want: `{"primaryEmail":null}`},
		"what is not there":         {recorded: "user-created", fields: []string{"nickname"}, want: `{}`},
		"custom data is no user":    {recorded: "custom-data-updated", fields: []string{"id", "plan"}, want: `{"id":"551vi8z8tdm8"}`},
		"custom data as a field":    {recorded: "custom-data-updated", fields: []string{"customData"}, want: `{"customData":{"a":1,"plan":"pro"}}`},
		"data that is an array":     {body: body("Role.Scopes.Updated", `,"data":[{"id":"scope"}]`), fields: []string{"id"}, want: `{}`},
		"the user of a sign-in":     {body: body("PostSignIn", `,"userId":"u1","user":{"id":"u1","name":"Ann"}`), fields: []string{"id"}, want: `{"id":"u1"}`},
		"no subject":                {body: body("PostSignIn", ""), fields: []string{"id"}, want: `{}`},
		"nothing is escaped anew":   {body: body("User.Created", `,"data":{"name":"<Ann & Bo>"}`), fields: []string{"name"}, want: `{"name":"<Ann & Bo>"}`},
		"numbers stay as they came": {body: body("User.Created", `,"data":{"n":12345678901234567890}`), fields: []string{"n"}, want: `{"n":12345678901234567890}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			raw := test.body
			if test.recorded != "" {
				raw = readRecorded(t, test.recorded).Request.Body
			}
			d, err := parse([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			detail, err := d.detail(test.fields)
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Data json.RawMessage }
			if err := json.Unmarshal(detail, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got.Data)); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhichUserAnEventIsAbout(t *testing.T) {
	tests := map[string]struct{ event, more, want string }{
		"the route's":            {"User.Data.Updated", `,"params":{"userId":"u1"},"data":{"id":"u2"}`, "u1"},
		"the user created":       {"User.Created", `,"params":{},"data":{"id":"u1"}`, "u1"},
		"who signed in":          {"PostSignIn", `,"userId":"u1"`, "u1"},
		"an id in custom data":   {"User.Data.Updated", `,"matchedRoute":"/users/:userId/custom-data","data":{"id":"42"}`, ""},
		"a role is no user":      {"Role.Created", `,"data":{"id":"role"}`, ""},
		"an id that is no text":  {"User.Created", `,"data":{"id":42}`, ""},
		"params that are a list": {"User.Created", `,"params":[1],"data":{"id":"u1"}`, "u1"},
	}
	for name, test := range tests {
		d, err := parse([]byte(body(test.event, test.more)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d.userID != test.want {
			t.Errorf("%s: %q, want %q", name, d.userID, test.want)
		}
	}
}

func TestNoEventIsLargerThanEventBridgeTakes(t *testing.T) {
	head := body("User.Created", `,"data":{"customData":""}`)
	for _, free := range []int{0, 1, 100, 1000} {
		filler := strings.Repeat("<", maxBody-len(head)-free)
		s := newSetup(t, keyed(documentedKey), "customData")
		if got := s.invoke(t, signed(documentedKey, body("User.Created", `,"data":{"customData":"`+filler+`"}`))); got.StatusCode != http.StatusOK {
			t.Fatalf("%d bytes below the limit: %d", free, got.StatusCode)
		}
		e := s.bridge.taken()[0]
		if size := len(e.Detail) + len(e.Source) + len(e.DetailType); size > 256<<10 {
			t.Errorf("%d bytes below the limit: an event of %d bytes", free, size)
		}
		event := e.event(t)
		if event.DataOmitted != (len(event.Data) == 0) || free == 0 && !event.DataOmitted || free == 1000 && event.DataOmitted {
			t.Errorf("%d bytes below the limit: omitted %v, %d fields", free, event.DataOmitted, len(event.Data))
		}
	}
}

func TestDigestIsThatOfTheSameJSON(t *testing.T) {
	sent := `{"event":"User.Created","data":{"b":1.5,"aa":[1,{"y":null,"x":"<é>"}]},"hookId":"h"}`
	same := []string{
		`{"data":{"aa":[1,{"x":"<é>","y":null}],"b":1.5},"event":"User.Created","hookId":"h"}`, // as PostgreSQL's jsonb orders keys
		"{ \"hookId\": \"h\",\n\"event\": \"User.Created\", \"data\": {\"aa\": [1, {\"x\": \"\\u003c\\u00e9>\", \"y\": null}], \"b\": 1.5}}",
	}
	other := []string{
		`{"data":{"aa":[1,{"x":"<é>","y":null}],"b":1.25},"event":"User.Created","hookId":"h"}`,
		`{"data":{"aa":[{"x":"<é>","y":null},1],"b":1.5},"event":"User.Created","hookId":"h"}`,
	}
	digest := func(s string) string {
		d, err := Digest([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, s := range same {
		if digest(s) != digest(sent) {
			t.Errorf("another digest: %s", s)
		}
	}
	for _, s := range other {
		if digest(s) == digest(sent) {
			t.Errorf("the same digest: %s", s)
		}
	}
	if _, err := Digest([]byte("no JSON")); err == nil {
		t.Error("a digest of what is not JSON")
	}
}
