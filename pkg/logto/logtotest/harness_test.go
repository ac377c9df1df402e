package logtotest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// send sends a request with a body of JSON, if any, and returns status, header and body of the answer.
func send(t *testing.T, c *http.Client, method, address, body string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "") // none is sent, as in the recorded requests
	return do(t, c, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) (int, http.Header, []byte) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return resp.StatusCode, resp.Header, got
}

// askToken asks for a token with these parameters beside the grant type.
func askToken(t *testing.T, tenant *logtotest.Tenant, app logtotest.App, params url.Values) (int, map[string]any) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	for k, v := range params {
		form[k] = v
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tenant.URL+"/oidc/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(app.ID), url.QueryEscape(app.Secret))
	status, _, body := do(t, tenant.Client(), req)
	var members map[string]any
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&members); err != nil {
		t.Fatal(err)
	}
	return status, members
}

func management() url.Values {
	return url.Values{"resource": {logtotest.ManagementResource}, "scope": {"all"}}
}
