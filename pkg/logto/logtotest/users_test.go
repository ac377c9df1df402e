package logtotest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// stored patches custom data and returns the answer's body.
func stored(t *testing.T, tenant *logtotest.Tenant, id, data string) (int, string) {
	t.Helper()
	status, _, body := send(t, tenant.ManagementClient(), http.MethodPatch, tenant.URL+"/api/users/"+id+"/custom-data", `{"customData":`+data+`}`)
	return status, string(body)
}

func TestCustomDataIsKeptAsJavaScriptAndJsonbKeepIt(t *testing.T) {
	tests := []struct {
		sent   string
		status int
		want   string // empty: not looked at
	}{
		{`{"bb":1,"a":2,"ä":3,"B":4}`, 200, `{"B":4,"a":2,"bb":1,"ä":3}`},
		{`{"b":1,"10":2,"9":3,"01":4,"4294967295":5}`, 200, `{"9":3,"10":2,"b":1,"01":4,"4294967295":5}`},
		{`{"a":1.50,"b":1e21,"c":1e-7,"d":-0,"e":123456789012345678901}`, 200, `{"a":1.5,"b":1e+21,"c":1e-7,"d":0,"e":123456789012345680000}`},
		{`{"a":1e400}`, 200, `{"a":null}`},
		{`{"a":"<&>\u2028é\n"}`, 200, ""},
		{`{"a":{"b":[{"d":1,"c":2}]}}`, 200, `{"a":{"b":[{"c":2,"d":1}]}}`},
		{`{"a":"\ud83d\ude80"}`, 200, `{"a":"🚀"}`},
		{`{"a":"\ud83d"}`, 500, ""},
		{`{"a":"\ude80\ud83d"}`, 500, ""},
		{`{"a\u0000":1}`, 500, ""},
		{`{"a":"\\u0000"}`, 200, `{"a":"\\u0000"}`},
		{`null`, 400, ""},
		{`7`, 400, ""},
		{`true`, 400, ""},
		{`{"a":nil}`, 400, `{"message":"Unexpected token in JSON"}`},
	}
	for _, tt := range tests {
		tenant := logtotest.New(t)
		id := tenant.AddUser(logtotest.User{})
		status, body := stored(t, tenant, id, tt.sent)
		if status != tt.status || tt.want != "" && body != tt.want {
			t.Errorf("%s\ngot  %d %s\nwant %d %s", tt.sent, status, body, tt.status, tt.want)
		}
	}
}

func TestCustomDataFromOutsideIsACopy(t *testing.T) {
	tenant := logtotest.New(t)
	data := map[string]any{"n": 1, "o": map[string]any{"s": []string{"a"}}}
	id := tenant.AddUser(logtotest.User{CustomData: data})
	data["n"] = 2
	got := tenant.CustomData(id)
	if diff := cmp.Diff(map[string]any{"n": json.Number("1"), "o": map[string]any{"s": []any{"a"}}}, got); diff != "" {
		t.Error(diff)
	}
	got["n"] = 3
	if n := tenant.CustomData(id)["n"]; n != json.Number("1") {
		t.Errorf("stored %v", n)
	}
	tenant.SetCustomData(id, map[string]any{"x": 1.5})
	if diff := cmp.Diff(map[string]any{"x": json.Number("1.5")}, tenant.CustomData(id)); diff != "" {
		t.Error(diff)
	}
	tenant.DeleteUser(id)
	if tenant.CustomData(id) != nil {
		t.Error("the user is still there")
	}
}

// Recorded in the README: 40 concurrent PATCHes of different keys are all kept.
func TestConcurrentMergesAreAllKept(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if status, err := try(t, tenant, id, fmt.Sprintf(`{"k%d":%d}`, i, i)); status != 200 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	wg.Wait()
	if n := len(tenant.CustomData(id)); n != 40 {
		t.Errorf("%d of 40 are kept", n)
	}
}

func TestUsersComeAndGoOverTheAPI(t *testing.T) {
	tenant := logtotest.New(t)
	c := tenant.ManagementClient()
	status, _, body := send(t, c, http.MethodPost, tenant.URL+"/api/users", `{"username":"ann","primaryEmail":"ann@example.com","customData":{"a":1}}`)
	var user struct{ ID string }
	if err := json.Unmarshal(body, &user); err != nil || status != 200 || len(user.ID) != 12 {
		t.Fatalf("%d %s", status, body)
	}
	address := tenant.URL + "/api/users/" + user.ID
	for _, tt := range []struct {
		method, address, body string
		status                int
		says                  string
	}{
		{"POST", tenant.URL + "/api/users", `{"username":"ann"}`, 422, "user.username_already_in_use"},
		{"POST", tenant.URL + "/api/users", `{"username":7}`, 400, `Error in key path \"username\": (invalid_type) Expected string but received number.`},
		{"POST", tenant.URL + "/api/users", `{"customData":[]}`, 400, "received array"},
		{"PATCH", address, `{"username":"anna","name":"Ann","profile":{"nickname":"A"}}`, 200, `"username":"anna"`},
		{"PATCH", address, `{"name":null}`, 200, `"name":null`},
		{"PATCH", address, `{"name":[]}`, 400, "received array"},
		{"GET", tenant.URL + "/api/users?search.username=ann&mode.username=exact", ``, 200, `[]`},
		{"GET", tenant.URL + "/api/users?search.username=anna&mode.username=exact", ``, 200, user.ID},
		{"PATCH", address + "/is-suspended", `{"isSuspended":true}`, 200, `"isSuspended":true`},
		{"PATCH", address + "/is-suspended", `{}`, 400, "Required"},
		{"PATCH", address + "/is-suspended", `{"isSuspended":"x"}`, 400, "received string"},
		{"PATCH", tenant.URL + "/api/users/nobody/is-suspended", `{"isSuspended":true}`, 404, "entity.not_found"},
		{"PATCH", tenant.URL + "/api/users/nobody", `{}`, 404, "entity.not_found"},
		{"DELETE", address, ``, 204, ""},
		{"DELETE", address, ``, 404, "entity.not_found"},
		{"GET", address, ``, 404, "entity.not_found"},
		{"GET", address + "/custom-data", ``, 404, "entity.not_found"},
	} {
		status, _, body := send(t, c, tt.method, tt.address, tt.body)
		if status != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.address, tt.body, status, body)
		}
	}
	if n := tenant.Users(); n != 0 {
		t.Errorf("%d users are left", n)
	}
}

func TestSearches(t *testing.T) {
	tenant := logtotest.New(t)
	for _, name := range []string{"ann", "Bob", "carl"} {
		tenant.AddUser(logtotest.User{ID: name, Username: name, PrimaryEmail: name + "@example.com", Name: "The " + name})
	}
	for query, want := range map[string]string{
		"":                                    "carl Bob ann",
		"search=%25example.com":               "carl Bob ann",
		"search=%25b%25&isCaseSensitive=true": "Bob",
		"search.name=the%20%25r%25":           "carl",
		"search.username=bob":                 "Bob",
		"search.username=bob&isCaseSensitive=true":           "",
		"search.username=bob&mode.username=exact":            "Bob",
		"search.id=ann&search.id=carl&mode.id=exact":         "carl ann",
		"search.name=the%20ann&mode.name=exact":              "ann",
		"search.id=ann&search.username=carl":                 "carl ann",
		"search.id=ann&search.username=carl&joint=and":       "",
		"search.id=ann&search.username=ann&joint=and":        "ann",
		"search.id=ann&mode.id=posix":                        "",
		"search.username=%25a%25r%25&mode.username=like":     "carl",
		"search=ann&search=carl&mode=exact&isCaseSensitive=": "carl ann",
	} {
		_, header, body := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+"/api/users?"+query, "")
		var users []struct{ ID string }
		if err := json.Unmarshal(body, &users); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range users {
			got = append(got, u.ID)
		}
		if strings.Join(got, " ") != want || header.Get("Total-Number") != fmt.Sprint(len(got)) {
			t.Errorf("%s: %v, not %s", query, got, want)
		}
	}
}

// A search by key must not look at every user: a sync of many users would take minutes.
func TestTwentyThousandUsersAreFoundQuickly(t *testing.T) {
	tenant := logtotest.New(t)
	for i := range 20_000 {
		tenant.AddUser(logtotest.User{PrimaryEmail: fmt.Sprintf("user%d@example.com", i)})
	}
	for from := 0; from < 20_000; from += 100 {
		q := url.Values{"mode.primaryEmail": {"exact"}, "page_size": {"100"}}
		for i := range 100 {
			q.Add("search.primaryEmail", fmt.Sprintf("USER%d@example.com", from+i))
		}
		_, header, _ := send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+"/api/users?"+q.Encode(), "")
		if header.Get("Total-Number") != "100" {
			t.Fatalf("found %s", header.Get("Total-Number"))
		}
	}
}
