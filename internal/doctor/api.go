package doctor

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// api asks the own API three times: with no token, with one whose signature is wrong, and with the right one. An API that only
// looks whether there is a token is open to everybody.
func (e *examination) api(ctx context.Context) Finding {
	if e.API.Path == "" {
		return Nothing("which path of %s to ask is not known here: a run tells", e.API.URL)
	}
	address := strings.TrimSuffix(e.API.URL, "/") + e.API.Path
	path, _, _ := strings.Cut(e.API.Path, "?")
	if u, err := url.Parse(e.API.URL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return Failed("give an address with https in "+e.API.Variable, "%s is without TLS: nothing was sent, for whoever is between could use the token", e.API.URL)
	}
	for _, bad := range []struct{ what, token string }{{"no token", ""}, {"a token of a wrong signature", forged(e.bearer)}} {
		resp, _, err := e.get(ctx, address, bad.token)
		if err != nil {
			return Failed(unreachable(err, e.API.Variable, e.API.URL), "no answer from %s: %v", e.API.URL, cause(err))
		}
		switch {
		case resp.StatusCode < http.StatusMultipleChoices:
			return Failed("verify tokens there: in Go m2m.NewVerifier, and its Middleware before the handler of "+path,
				"%s to GET %s with %s: everybody may read that", resp.Status, path, bad.what)
		case resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden:
			return Failed(e.mendAPI(resp.StatusCode, path), "%s to GET %s with %s, want 401", resp.Status, path, bad.what)
		}
	}
	resp, _, err := e.get(ctx, address, e.bearer)
	if err != nil {
		return Failed(unreachable(err, e.API.Variable, e.API.URL), "no answer from %s: %v", e.API.URL, cause(err))
	}
	if resp.StatusCode == http.StatusOK {
		return Found("200 to GET %s with the token, 401 without and with a wrong signature", path)
	}
	return Failed(e.mendAPI(resp.StatusCode, path), "%s to GET %s with the token", resp.Status, path)
}

func (e *examination) mendAPI(status int, path string) string {
	switch {
	case status == http.StatusUnauthorized:
		return "let the API verify with the issuer " + e.issuerFound + " and the audience " + e.resource() + ", and see that its clock is right"
	case status == http.StatusForbidden:
		return "let the API ask for no other scope than " + strings.Join(e.Scopes, " ") + " at " + path
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return "look at the API's own log, and try again"
	}
	return "correct " + e.API.Variable + ", now " + e.API.URL + ": the API answers GET " + path + " there"
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// forged is the token with another signature.
func forged(token string) string {
	at := strings.LastIndex(token, ".") + 1
	if at == 0 || at == len(token) {
		return token + "x"
	}
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}
