package logtotest_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// notReplayed names the recorded exchanges that the Tenant does not give, each with the reason. The only reason allowed is
// that no job, command or test of this project could use it.
func notReplayed() map[string]string { return map[string]string{} }

// recordedOrder is the order of the record, as far as an exchange depends on those before it.
func recordedOrder() []string {
	return strings.Fields(`
		discovery jwks
		token-management-basic token-management-post token-bad-secret token-unknown-client token-both-auths token-json-body
		token-no-client-auth token-malformed-basic token-no-grant-type token-wrong-grant-type token-authorization-code-grant
		token-get token-no-resource token-two-resources token-unknown-resource token-no-role token-own-api
		token-own-api-no-scope-asked token-own-api-no-scope-granted token-own-api-one-scope-not-granted token-unknown-scope
		token-resource-trailing-slash token-organization-not-member
		api-no-token api-basic-scheme api-garbage-token api-tampered-token api-wrong-audience api-no-scope api-unknown-route
		user-get user-get-custom-data user-get-unknown custom-data-patch-1 custom-data-patch-2-nested custom-data-patch-3-null
		custom-data-get-after user-patch-custom-data-replaces custom-data-patch-empty custom-data-patch-unicode
		custom-data-patch-bignum custom-data-patch-array custom-data-patch-string custom-data-patch-no-wrapper
		custom-data-patch-no-content-type custom-data-patch-bad-json custom-data-patch-nul custom-data-patch-unknown-user
		custom-data-patch-60kb custom-data-patch-90kb custom-data-patch-110kb custom-data-patch-1100kb
		secret-create secrets-list secret-create-duplicate secret-create-past-expiry token-second-secret
		secret-delete token-deleted-secret secret-delete-unknown token-special-secret-raw token-special-secret-encoded
		logs-client-credentials app-get app-get-unknown app-roles role-scopes resources
		users-page-0 users-page-1 users-page-100 users-page-101 users-page-beyond
		users-search-ids-exact users-search-ids-one-missing users-search-100-ids-exact users-search-100-emails-exact
		users-search-300-emails-exact users-search-usernames-exact users-search-email-case users-search-email-case-insensitive
		users-search-multi-no-mode users-search-custom-data
		user-get-etag user-patch-if-match-stale
		token-expired-secret`)
}

// The Tenant answers every recorded request as the real Logto did: status, headers, body.
func TestTenantAnswersAsRecorded(t *testing.T) {
	r := newReplay(t)
	exceptions := notReplayed()
	replayed := 0
	for _, name := range recordedOrder() {
		t.Run(name, func(t *testing.T) {
			diffs := r.exchange(t, name)
			reason, excepted := exceptions[name]
			switch {
			case excepted && len(diffs) == 0:
				t.Errorf("is answered as recorded, so the exception is not needed: %s", reason)
			case !excepted && len(diffs) > 0:
				t.Error(strings.Join(diffs, "\n"))
			case !excepted:
				replayed++
			}
		})
	}
	if replayed < 88 {
		t.Errorf("%d of 88 exchanges are answered as recorded", replayed)
	}
}

// Nothing of the record is left out unnoticed.
func TestReplayNamesEveryRecordedExchange(t *testing.T) {
	entries, err := os.ReadDir("testdata/answers")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		files = append(files, strings.TrimSuffix(e.Name(), ".json"))
	}
	named := recordedOrder()
	slices.Sort(files)
	slices.Sort(named)
	if diff := cmp.Diff(files, named); diff != "" {
		t.Errorf("files (-) and names in the test (+):\n%s", diff)
	}
}

// replay is a tenant in the state of the recorded one.
type replay struct {
	tenant       *logtotest.Tenant
	now          time.Time
	placeholders map[string]string
	sync, orders logtotest.App
	second       logtotest.Secret
	special      logtotest.Secret
	third        string
}

func newReplay(t *testing.T) *replay {
	r := &replay{now: time.Date(2026, 11, 23, 21, 54, 0, 0, time.UTC)}
	// The PipeListener has the very address of the recorded server.
	r.tenant = logtotest.NewWith(t, logtotest.Config{Listener: logtotest.NewPipeListener(), Now: func() time.Time { return r.now }})
	tn := r.tenant
	tn.AddResource("https://shopping.api", "write:products", "read:orders", "read:products")
	r.sync, r.orders = tn.AddApp("sync"), tn.AddApp("daily-orders")
	norole, both := tn.AddApp("norole"), tn.AddApp("both")
	tn.Grant(r.sync.ID, logtotest.ManagementResource, "all")
	tn.Grant(both.ID, logtotest.ManagementResource, "all")
	reader := tn.AddRole(logtotest.Role{Name: "shop reader", Description: "reads orders and products",
		Scopes: map[string][]string{"https://shopping.api": {"read:orders", "read:products"}}})
	tn.AssignRole(r.orders.ID, reader)
	r.second = tn.AddSecret(r.sync.ID, logtotest.Secret{Name: "second", ExpiresAt: r.now.Add(time.Hour)})

	// The user ids of the record are given, so that they are the same here.
	one := tn.AddUser(logtotest.User{ID: "user1user1us", Username: "user70839_1", PrimaryEmail: "user17954708391@example.com",
		CustomData: map[string]any{"seed": true}})
	two := tn.AddUser(logtotest.User{ID: "user2user2us", CustomData: map[string]any{"seed": true}})
	tn.AddUser(logtotest.User{})

	r.placeholders = map[string]string{
		"<sync app id>": r.sync.ID, "<sync app secret>": r.sync.Secret, "<orders app id>": r.orders.ID,
		"<user 1 id>": one, "<user 2 id>": two, "<second secret>": r.second.Value,
		"jzjdfsp5pbe0wu4ubcmyv": reader, "vgmdxunmm3mr": tn.AddOrganization(),
		// Here a resource has no other name than its indicator.
		"Online Shopping": "https://shopping.api",
	}
	for name, app := range map[string]logtotest.App{"sync": r.sync, "orders": r.orders, "norole": norole, "both": both} {
		placeholder := "<basic of " + name + " app id:" + name + " app secret>"
		r.placeholders[placeholder] = strings.TrimPrefix(basic(app.ID, app.Secret), "Basic ")
	}
	return r
}

// exchange sends a recorded request and returns how the answer differs from the recorded one.
func (r *replay) exchange(t *testing.T, name string) []string {
	r.before(t, name)
	x := readExchange(t, name, r.placeholders)
	req := x.request(t, r.tenant.URL)
	r.authorize(t, x, req)
	resp, err := r.tenant.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if name == "secret-create" {
		r.third = string(body[strings.Index(string(body), `"value":"`)+len(`"value":"`):][:32])
		r.placeholders["<third secret>"] = r.third
	}
	d := &differ{exchange: name}
	if resp.StatusCode != x.Response.Status {
		d.add("status", "is %d, recorded is %d", resp.StatusCode, x.Response.Status)
	}
	d.compareHeaders(x, resp)
	d.compareBody(t, x, body)
	return d.diffs
}

// before brings the tenant into the state in which the exchange was recorded.
func (r *replay) before(t *testing.T, name string) {
	switch name {
	case "token-special-secret-raw":
		r.special = r.tenant.AddSecret(r.sync.ID, logtotest.Secret{Name: "special", Value: "logtotestSecretspeciala+b%20c:d"})
	case "logs-client-credentials":
		// The recorder got one more token before, for the requests that follow.
		r.send(t, "token-management-basic")
	case "users-page-0":
		r.addBulkUsers(t)
	case "token-expired-secret":
		r.now = r.now.Add(2 * time.Hour)
	}
}

// send sends a recorded request for its effect and returns the access token of the answer.
func (r *replay) send(t *testing.T, name string) string {
	x := readExchange(t, name, r.placeholders)
	resp, err := r.tenant.Client().Do(x.request(t, r.tenant.URL))
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	err = json.NewDecoder(resp.Body).Decode(&token)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return token.AccessToken
}

// addBulkUsers adds the recorded 300 users, with the ids that the record tells.
func (r *replay) addBulkUsers(t *testing.T) {
	known := map[int]string{1: "rxl1323daddm", 2: "xs9jacgkg2q1", 99: "36uthsathh8d"}
	hundred := readExchange(t, "users-search-100-ids-exact", nil)
	target, err := url.Parse(hundred.Request.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range target.Query()["search.id"] {
		known[299-i] = id
	}
	for i := range 300 {
		digits := strconv.Itoa(100000 + i)[1:]
		r.now = r.now.Add(10 * time.Millisecond)
		r.tenant.AddUser(logtotest.User{ID: known[i], Username: "bulk_" + digits, PrimaryEmail: "bulk" + digits + "@example.com",
			CustomData: map[string]any{"plan": "free", "crmId": "crm-" + digits}})
	}
}

// authorize puts the token or the secret into the request that the record could not keep.
func (r *replay) authorize(t *testing.T, x exchange, req *http.Request) {
	switch x.Name {
	case "token-bad-secret":
		req.Header.Set("Authorization", basic(r.sync.ID, "wrong"))
	case "token-second-secret", "token-expired-secret":
		req.Header.Set("Authorization", basic(r.sync.ID, r.second.Value))
	case "token-deleted-secret":
		req.Header.Set("Authorization", basic(r.sync.ID, r.third))
	case "token-special-secret-raw":
		req.Header.Set("Authorization", basic(r.sync.ID, r.special.Value))
	case "token-special-secret-encoded":
		req.Header.Set("Authorization", basic(r.sync.ID, url.QueryEscape(r.special.Value)))
	}
	if req.Header.Get("Authorization") != "Bearer <jwt>" {
		return
	}
	claims := map[string]any{"jti": base64.RawURLEncoding.EncodeToString(make([]byte, 32)), "sub": r.sync.ID, "client_id": r.sync.ID,
		"iat": r.now.Unix(), "exp": r.now.Add(time.Hour).Unix(), "scope": "all", "iss": r.tenant.Issuer(), "aud": logtotest.ManagementResource}
	switch x.Name {
	case "api-no-scope":
		delete(claims, "scope")
	case "api-wrong-audience":
		req.Header.Set("Authorization", "Bearer "+r.send(t, "token-own-api"))
		return
	}
	token := []byte(r.tenant.Sign(nil, claims))
	if x.Name == "api-tampered-token" {
		// One character in the middle of the signature, where every bit counts.
		if i := len(token) - 60; token[i] == 'A' {
			token[i] = 'B'
		} else {
			token[i] = 'A'
		}
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
}

// compareHeaders compares the headers that matter: what is recorded must be there, what is not recorded must not.
func (d *differ) compareHeaders(x exchange, resp *http.Response) {
	for _, name := range []string{"Content-Type", "Cache-Control", "WWW-Authenticate", "Total-Number", "Link",
		"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"} {
		if diff := cmp.Diff(x.headers(name), resp.Header.Values(name)); diff != "" {
			d.add("header "+name, "recorded (-), here (+):\n%s", diff)
		}
	}
	if len(resp.Header.Get("Logto-Core-Request-Id")) != 16 {
		d.add("header Logto-Core-Request-Id", "is %q", resp.Header.Get("Logto-Core-Request-Id"))
	}
	// The ETag is made of the body: the same length where the body is of the same shape, and all the same where it has no
	// time in it.
	want, got := strings.Join(x.headers("ETag"), ""), resp.Header.Get("ETag")
	length := func(tag string) string { n, _, _ := strings.Cut(tag, "-"); return n }
	switch x.Name {
	case "logs-client-credentials", "resources", "role-scopes":
		if (want == "") != (got == "") {
			d.add("header ETag", "is %s, recorded is %s", got, want)
		}
		return // their lengths differ: no stack trace, other names
	case "discovery", "user-get-custom-data", "custom-data-get-after", "user-get-etag", "users-page-beyond":
		if want != got {
			d.add("header ETag", "is %s, recorded is %s", got, want)
		}
	}
	if length(want) != length(got) {
		d.add("header ETag", "is %s, recorded is %s", got, want)
	}
	wantLength := strings.Join(x.headers("Content-Length"), "")
	if gotLength := resp.Header.Get("Content-Length"); wantLength != gotLength {
		d.add("header Content-Length", "is %s, recorded is %s", gotLength, wantLength)
	}
}
