package m2m_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// An API lets requests through that bear a token for it with the scope read:orders.
func ExampleVerifier_Middleware() {
	tenant, err := logtotest.Start(logtotest.Config{}) // in production: your Logto tenant
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	tenant.AddResource("https://shopping.api", "read:orders", "read:products")
	app := tenant.AddApp("daily-orders")
	tenant.Grant(app.ID, "https://shopping.api", "read:orders")

	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer:     tenant.Issuer(), // https://{tenant-id}.logto.app/oidc
		Audience:   "https://shopping.api",
		HTTPClient: tenant.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	names := map[string]string{app.ID: "daily-orders"}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", verifier.Middleware("read:orders")(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			token, _ := m2m.FromContext(r.Context())
			fmt.Fprintf(w, `{"app": %q}`, names[token.ClientID])
		})))
	mux.Handle("GET /products", verifier.Middleware("read:products")(http.NotFoundHandler()))
	api := httptest.NewServer(mux)
	defer api.Close()

	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    "https://shopping.api",
		Scopes:      []string{"read:orders"},
		HTTPClient:  tenant.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	withToken := &http.Client{Transport: &m2m.Transport{Source: source, Origin: api.URL, Base: api.Client().Transport}}

	show := func(client *http.Client, path string) {
		resp, err := client.Get(api.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		var answer struct {
			App   string `json:"app"`
			Error string `json:"error"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(resp.StatusCode, answer.App+answer.Error)
	}
	show(withToken, "/orders")
	show(api.Client(), "/orders")
	show(withToken, "/products")
	// Output:
	// 200 daily-orders
	// 401 unauthorized
	// 403 insufficient_scope
}

// Where there is no HTTP, Verify takes the token itself. Its errors say what to do.
func ExampleVerifier_Verify() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer:     tenant.Issuer(),
		Audience:   "https://shopping.api",
		HTTPClient: tenant.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	claims := map[string]any{
		"iss": tenant.Issuer(), "aud": "https://shopping.api", "exp": 4102444800, // 2100-01-01
		"sub": "app-1", "client_id": "app-1", "scope": "read:orders",
	}
	token, err := verifier.Verify(context.Background(), tenant.Sign(nil, claims))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.ClientID, token.Scopes, token.Expiry.UTC().Year())

	err = token.RequireScopes("read:orders", "write:products")
	if insufficient, ok := errors.AsType[*m2m.InsufficientScopeError](err); ok {
		fmt.Println("answer 403:", insufficient.Missing)
	}

	claims["exp"] = 946684800 // 2000-01-01
	_, err = verifier.Verify(context.Background(), tenant.Sign(nil, claims))
	switch {
	case errors.Is(err, m2m.ErrInvalidToken):
		fmt.Println("answer 401:", err)
	case errors.Is(err, m2m.ErrKeysUnavailable):
		fmt.Println("answer 503:", err)
	}
	// Output:
	// app-1 [read:orders] 2100
	// answer 403: [write:products]
	// answer 401: invalid access token: it expired at 2000-01-01T00:00:00Z
}

// Rules of one's own: here a claim that the tenant's script for custom claims adds, and a list of blocked apps.
func ExampleVerifierConfig_check() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	blocked := map[string]bool{}
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer:     tenant.Issuer(),
		Audience:   "https://shopping.api",
		HTTPClient: tenant.Client(),
		Remember:   1000, // the next request with the same token costs no signature
		Check: func(_ context.Context, token *m2m.AccessToken) error {
			var own struct {
				Plan string `json:"plan"`
			}
			if err := token.Claims(&own); err != nil {
				return err
			}
			if blocked[token.ClientID] || own.Plan != "pro" {
				return errors.New("this app may not use the API")
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	token := tenant.Sign(nil, map[string]any{
		"iss": tenant.Issuer(), "aud": "https://shopping.api", "exp": time.Now().Add(time.Hour).Unix(), "client_id": "app1", "plan": "pro",
	})
	_, err = verifier.Verify(context.Background(), token)
	fmt.Println(err)
	blocked["app1"] = true
	_, err = verifier.Verify(context.Background(), token)
	fmt.Println(err)
	// Output:
	// <nil>
	// invalid access token: this app may not use the API
}
