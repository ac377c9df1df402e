package m2m_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// exampleTenant is a tenant in memory with an app that may read orders.
func exampleTenant() (*logtotest.Tenant, m2m.Credentials) {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		panic(err)
	}
	app := tenant.AddApp("daily-orders")
	tenant.AddResource("https://shopping.api", "read:orders", "write:products")
	tenant.Grant(app.ID, "https://shopping.api", "read:orders")
	return tenant, m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}
}

// A Source is made once and asked whenever a token is needed.
func ExampleSource() {
	tenant, credentials := exampleTenant()
	defer tenant.Close()
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(credentials),
		Resource:    "https://shopping.api",
		Scopes:      []string{"read:orders"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		token, err := source.Token(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(token.Type(), token.Valid())
	}
	fmt.Println("requests:", tenant.Requests("POST /oidc/token"))
	// Output:
	// Bearer true
	// Bearer true
	// Bearer true
	// requests: 1
}

// A Transport makes any http.Client send the token, to one origin.
func ExampleTransport() {
	tenant, credentials := exampleTenant()
	defer tenant.Close()
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.URL.Path, "has a token:", r.Header.Get("Authorization") != "")
	}))
	defer shop.Close()
	source, err := m2m.NewSource(m2m.Config{Credentials: m2m.StaticCredentials(credentials), Resource: "https://shopping.api"})
	if err != nil {
		fmt.Println(err)
		return
	}
	base := m2m.NewBase()
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: &m2m.Transport{Source: source, Origin: shop.URL, Base: base}}
	resp, err := client.Get(shop.URL + "/orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	// Output: /orders has a token: true
}

// A scope that was not granted is an error at once, with the names of what is missing.
func ExampleScopeError() {
	tenant, credentials := exampleTenant()
	defer tenant.Close()
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(credentials),
		Resource:    "https://shopping.api",
		Scopes:      []string{"read:orders", "write:products"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = source.Token(context.Background())
	if refused := (*m2m.ScopeError)(nil); errors.As(err, &refused) {
		fmt.Println("granted:", refused.Granted, "missing:", refused.Missing)
	}
	// Output: granted: [read:orders] missing: [write:products]
}

// What the token endpoint refuses matches a sentinel.
func ExampleTokenError() {
	tenant, credentials := exampleTenant()
	defer tenant.Close()
	credentials.AppSecret = m2m.NewSecret("logtotestSecretWRONG0123456789ab")
	source, err := m2m.NewSource(m2m.Config{Credentials: m2m.StaticCredentials(credentials), Resource: "https://shopping.api"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = source.Token(context.Background())
	fmt.Println(errors.Is(err, m2m.ErrWrongSecret))
	// Output: true
}

// Libraries that take an oauth2.TokenSource take a Source.
func ExampleSource_TokenSource() {
	tenant, credentials := exampleTenant()
	defer tenant.Close()
	source, err := m2m.NewSource(m2m.Config{Credentials: m2m.StaticCredentials(credentials), Resource: "https://shopping.api"})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := source.TokenSource(context.Background()).Token()
	fmt.Println(err, token.Valid())
	// Output: <nil> true
}

// Credentials print without their secret.
func ExampleCredentials() {
	c, err := m2m.ParseCredentials([]byte(`{"endpoint":"https://tenant.logto.app","appId":"app1","appSecret":"logtotestSecret0123456789abcdefg"}`))
	fmt.Printf("%+v %v\n", c, err)
	// Output: app app1 at https://tenant.logto.app <nil>
}

// Processes that start often share their tokens: here two that know nothing of each other.
func ExampleFileCache() {
	tenant, credentials := exampleTenant()
	defer tenant.Close()
	directory, err := os.MkdirTemp("", "tokens")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(directory)
	for range 2 {
		source, err := m2m.NewSource(m2m.Config{
			Credentials: m2m.StaticCredentials(credentials),
			Resource:    "https://shopping.api",
			Cache:       m2m.FileCache(directory),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := source.Token(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("got:", source.Stats().Tokens, "shared:", source.Stats().CacheHits)
	}
	// Output:
	// got: 1 shared: 0
	// got: 0 shared: 1
}

// A secret does not print; Reveal gives it.
func ExampleSecret() {
	secret := m2m.NewSecret("a secret")
	fmt.Printf("%v %+v %q %d\n", secret, secret, secret, len(secret.Reveal()))
	// Output: [secret] [secret] [secret] 8
}
