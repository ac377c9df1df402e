package m2m_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// guarded is a server that answers 200 with the app id to who may write products.
func guarded(t *testing.T, v *m2m.Verifier) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(v.Middleware("read:orders", "write:products")(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			token, ok := m2m.FromContext(r.Context())
			if !ok {
				t.Error("no token in the context")
				return
			}
			fmt.Fprint(w, token.ClientID)
		})))
	t.Cleanup(server.Close)
	return server
}

func TestMiddlewareAnswersAsRFC6750Says(t *testing.T) {
	is := newIssuer(t)
	server := guarded(t, is.verifier(t, nil))
	enough := is.token(t, map[string]any{"scope": "read:orders write:products"})
	type answer struct {
		Status    int
		Challenge string
		Error     string
	}
	const realm = `Bearer realm="https://shopping.api"`
	malformed := answer{400, realm + `, error="invalid_request", error_description="the Authorization header is not of the form: Bearer, a space, a token"`, "invalid_request"}
	none := answer{401, realm, "unauthorized"}
	for _, tc := range []struct {
		name   string
		header []string
		want   answer
	}{
		{"no token", nil, none},
		{"an empty header", []string{""}, none},
		{"another scheme", []string{"Basic dXNlcjpwYXNz"}, none},
		{"a good token", []string{"Bearer " + enough}, answer{Status: 200}},
		{"the scheme in small letters", []string{"bearer " + enough}, answer{Status: 200}},
		{"the scheme alone", []string{"Bearer"}, malformed},
		{"two tokens", []string{"Bearer " + enough + " " + enough}, malformed},
		{"a list of tokens", []string{"Bearer " + enough + ", Bearer " + enough}, malformed},
		{"two headers", []string{"Bearer " + enough, "Bearer " + enough}, answer{400,
			realm + `, error="invalid_request", error_description="the request has more than one Authorization header"`, "invalid_request"}},
		{"an opaque token", []string{"Bearer a+b/c=="}, answer{401,
			realm + `, error="invalid_token", error_description="invalid access token: it is not a signed JWT"`, "invalid_token"}},
		{"an expired token", []string{"Bearer " + is.token(t, map[string]any{"exp": 1})}, answer{401,
			realm + `, error="invalid_token", error_description="invalid access token: it expired at 1970-01-01T00:00:01Z"`, "invalid_token"}},
		{"a scope missing", []string{"Bearer " + is.token(t, nil)}, answer{403,
			realm + `, error="insufficient_scope", error_description="the token of app orders-app lacks write:products: ` +
				`grant it to the app by a role, and ask for it with the token", scope="read:orders write:products"`, "insufficient_scope"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"?access_token="+enough, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.header != nil {
				req.Header["Authorization"] = tc.header
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := answer{Status: resp.StatusCode, Challenge: resp.Header.Get("WWW-Authenticate")}
			if resp.StatusCode == http.StatusOK {
				if string(body) != "orders-app" {
					t.Errorf("the handler saw app %q", body)
				}
			} else {
				var said struct {
					Error       string `json:"error"`
					Description string `json:"error_description"`
				}
				if err := json.Unmarshal(body, &said); err != nil || said.Description == "" {
					t.Errorf("body %q: %v", body, err)
				}
				got.Error = said.Error
				if strings.Contains(string(body), "eyJ") || strings.Contains(got.Challenge, "eyJ") {
					t.Error("the answer contains a token")
				}
				if cc := resp.Header.Get("Cache-Control"); cc != "no-store" {
					t.Errorf("Cache-Control %q", cc)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMiddlewareAnswers503WhenKeysCannotBeHad(t *testing.T) {
	is := newIssuer(t)
	is.answerKeys(answerStatus(http.StatusInternalServerError))
	server := guarded(t, is.verifier(t, nil))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+is.token(t, nil))
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "10" || resp.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("status %d, Retry-After %q, WWW-Authenticate %q; want 503, 10, none",
			resp.StatusCode, resp.Header.Get("Retry-After"), resp.Header.Get("WWW-Authenticate"))
	}
}

func TestMiddlewareLeavesOutOfItsHeaderWhatCannotBeQuoted(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.Audience = `https://a.api/"quoted\"` + "\u00e9" })
	rec := httptest.NewRecorder()
	v.Middleware()(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if got, want := rec.Header().Get("WWW-Authenticate"), `Bearer realm="https://a.api/quoted"`; got != want {
		t.Errorf("WWW-Authenticate = %s, want %s", got, want)
	}
}
