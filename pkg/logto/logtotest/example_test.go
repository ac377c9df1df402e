package logtotest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// start is logtotest.New for an example, which has no testing.TB.
func start(c logtotest.Config) *logtotest.Tenant {
	tenant, err := logtotest.Start(c)
	if err != nil {
		log.Fatal(err)
	}
	return tenant
}

func get(c *http.Client, address string) (status int, body string) {
	resp, err := c.Get(address)
	if err != nil {
		log.Fatal(err)
	}
	defer closeBody(resp)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func closeBody(resp *http.Response) {
	if err := resp.Body.Close(); err != nil {
		log.Fatal(err)
	}
}

func ask(tenant *logtotest.Tenant, app logtotest.App, scope string) (status int, answer map[string]any) {
	resp, err := tenant.Client().PostForm(tenant.URL+"/oidc/token", url.Values{"grant_type": {"client_credentials"},
		"client_id": {app.ID}, "client_secret": {app.Secret}, "resource": {"https://shopping.api"}, "scope": {scope}})
	if err != nil {
		log.Fatal(err)
	}
	defer closeBody(resp)
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		log.Fatal(err)
	}
	return resp.StatusCode, answer
}

// A tenant with a user, and the Management API asked about it.
func ExampleStart() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	tenant.AddUser(logtotest.User{ID: "ann000000000", CustomData: map[string]any{"plan": "free"}})
	fmt.Println(get(tenant.ManagementClient(), tenant.URL+"/api/users/ann000000000/custom-data"))
	fmt.Println("requests:", tenant.Requests("GET /api/users/{id}/custom-data"))
	// Output:
	// 200 {"plan":"free"}
	// requests: 1
}

// What was not granted is dropped without an error, as Logto does.
func ExampleTenant_Grant() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	app := tenant.AddApp("daily-orders")
	tenant.AddResource("https://shopping.api", "read:orders", "write:products")
	tenant.Grant(app.ID, "https://shopping.api", "read:orders")

	status, answer := ask(tenant, app, "read:orders write:products")
	fmt.Println(status, answer["scope"])
	// Output: 200 read:orders
}

// The second and third request are answered 503; the one after them breaks off.
func ExampleTenant_Inject() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	tenant.Inject(logtotest.Fault{Route: "GET /oidc/jwks", After: 1, Times: 2, Status: http.StatusServiceUnavailable})
	tenant.Inject(logtotest.Fault{Route: "GET /oidc/jwks", After: 1, Reset: true, Times: -1})
	for range 3 {
		status, _ := get(tenant.Client(), tenant.URL+"/oidc/jwks")
		fmt.Println(status)
	}
	_, err := tenant.Client().Get(tenant.URL + "/oidc/jwks")
	fmt.Println(err != nil)
	// Output:
	// 200
	// 503
	// 503
	// true
}

func ExampleTenant_SetCloudLimit() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	tenant.SetCloudLimit(true)
	statuses := map[int]bool{}
	for range 300 {
		status, _ := get(tenant.Client(), tenant.URL+"/oidc/jwks")
		statuses[status] = true
	}
	fmt.Println(statuses)
	// Output: map[200:true 429:true]
}

// A token of another audience, for a test of an API that must refuse it.
func ExampleTenant_Sign() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	token := tenant.Sign(nil, map[string]any{"iss": tenant.Issuer(), "aud": "https://other.api", "sub": "app",
		"exp": time.Now().Add(time.Hour).Unix(), "scope": "read:orders"})
	fmt.Println(strings.Count(token, "."))
	// Output: 2
}

// An app gets a second secret; the first one stops working.
func ExampleTenant_AddSecret() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	app := tenant.AddApp("sync")
	tenant.AddResource("https://shopping.api")
	next := tenant.AddSecret(app.ID, logtotest.Secret{Name: "next"})
	tenant.DeleteSecret(app.ID, logtotest.DefaultSecret)

	before, _ := ask(tenant, app, "")
	after, _ := ask(tenant, logtotest.App{ID: app.ID, Secret: next.Value}, "")
	fmt.Println(before, after)
	// Output: 401 200
}

func ExampleTenant_AddHook() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()
	var hook logtotest.Hook
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Header.Get("Logto-Signature-Sha-256") == logtotest.Signature(hook.SigningKey, body))
	}))
	defer server.Close()

	hook = tenant.AddHook(server.URL, logtotest.UserCreated)
	tenant.AddUser(logtotest.User{})
	tenant.FlushHooks()
	// Output: true
}

// Over a PipeListener nothing touches the network, as testing/synctest needs it.
func ExampleNewPipeListener() {
	listener := logtotest.NewPipeListener()
	tenant := start(logtotest.Config{Listener: listener})
	defer tenant.Close()

	client := &http.Client{Transport: &http.Transport{DialContext: listener.DialContext}}
	resp, err := client.Get(tenant.URL + "/oidc/jwks")
	if err != nil {
		log.Fatal(err)
	}
	defer closeBody(resp)
	fmt.Println(tenant.URL, resp.StatusCode)
	// Output: http://127.0.0.1:3001 200
}

func ExampleTenant_RotateKeys() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	tenant.RotateKeys(true)
	_, keys := get(tenant.Client(), tenant.URL+"/oidc/jwks")
	fmt.Println(strings.Count(keys, `"kid"`))
	tenant.RotateKeys(false)
	_, keys = get(tenant.Client(), tenant.URL+"/oidc/jwks")
	fmt.Println(strings.Count(keys, `"kid"`))
	// Output:
	// 2
	// 1
}

func ExampleTenant_JoinOrganization() {
	tenant := start(logtotest.Config{})
	defer tenant.Close()

	app := tenant.AddApp("sync")
	organization := tenant.AddOrganization()
	tenant.JoinOrganization(organization, app.ID, "", "manage")
	resp, err := tenant.Client().PostForm(tenant.URL+"/oidc/token", url.Values{"grant_type": {"client_credentials"},
		"client_id": {app.ID}, "client_secret": {app.Secret}, "organization_id": {organization}, "scope": {"manage"}})
	if err != nil {
		log.Fatal(err)
	}
	defer closeBody(resp)
	fmt.Println(resp.StatusCode)
	// Output: 200
}
