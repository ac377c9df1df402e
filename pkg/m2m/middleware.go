package m2m

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

type tokenKey struct{}

// FromContext returns the token that Middleware verified for the request of ctx.
func FromContext(ctx context.Context) (*AccessToken, bool) {
	t, ok := ctx.Value(tokenKey{}).(*AccessToken)
	return t, ok
}

// Middleware lets only requests pass that bear a valid token with all of the scopes. The token is taken from the
// Authorization header alone (RFC 6750 section 2.1), never from the query or the body.
//
// The others are answered as RFC 6750 section 3 says, each with WWW-Authenticate and a JSON body
// {"error","error_description"}:
//
//	no token                       401, without an error code in WWW-Authenticate
//	a malformed or second header   400 invalid_request
//	a token that is not valid      401 invalid_token
//	a scope that is missing        403 insufficient_scope, with the scopes that are required
//
// If the issuer's keys cannot be had, so that nothing can be said of the token, the answer is 503
// temporarily_unavailable with Retry-After.
func (v *Verifier) Middleware(scopes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, denied := v.bearer(r.Header.Values("Authorization"))
			if denied != nil {
				denied.answer(w)
				return
			}
			t, err := v.Verify(r.Context(), token)
			switch {
			case errors.Is(err, ErrInvalidToken):
				v.deny(http.StatusUnauthorized, "invalid_token", err.Error()).answer(w)
				return
			case err != nil:
				// The reason names the issuer's addresses: it is for VerifierConfig.Log, not for the caller.
				w.Header().Set("Retry-After", fmt.Sprint(int(failedInterval.Seconds())))
				(&denial{status: http.StatusServiceUnavailable, code: "temporarily_unavailable",
					description: "the keys that access tokens are verified with cannot be fetched: try again"}).answer(w)
				return
			}
			if err := t.RequireScopes(scopes...); err != nil {
				v.DenyScopes(w, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, t)))
		})
	}
}

// DenyScopes answers 403 insufficient_scope for an error of AccessToken.RequireScopes, as Middleware does.
func (v *Verifier) DenyScopes(w http.ResponseWriter, err error) {
	d := v.deny(http.StatusForbidden, "insufficient_scope", err.Error())
	if insufficient, ok := errors.AsType[*InsufficientScopeError](err); ok {
		d.challenge += fmt.Sprintf(`, scope="%s"`, quotable(strings.Join(insufficient.Required, " ")))
	}
	d.answer(w)
}

// bearer returns the token in the values of the Authorization header.
func (v *Verifier) bearer(values []string) (string, *denial) {
	if len(values) > 1 {
		return "", v.deny(http.StatusBadRequest, "invalid_request", "the request has more than one Authorization header")
	}
	scheme, token := "", ""
	if len(values) == 1 {
		scheme, token, _ = strings.Cut(values[0], " ")
	}
	if !strings.EqualFold(scheme, "Bearer") {
		// No error code for who did not know that a token is needed: RFC 6750 section 3.1.
		return "", &denial{
			status:      http.StatusUnauthorized,
			code:        "unauthorized",
			description: fmt.Sprintf("send an access token for %s in the header Authorization: Bearer", v.accepts()),
			challenge:   v.realm(),
		}
	}
	token = strings.Trim(token, " ")
	if strings.Trim(strings.TrimRight(token, "="), base64URL+".~+/") != "" || token == "" {
		return "", v.deny(http.StatusBadRequest, "invalid_request", "the Authorization header is not of the form: Bearer, a space, a token")
	}
	return token, nil
}

// denial is an answer to a request that may not pass.
type denial struct {
	status      int
	code        string
	description string
	challenge   string // WWW-Authenticate; empty: none
}

func (v *Verifier) realm() string { return fmt.Sprintf(`Bearer realm="%s"`, quotable(v.accepts())) }

func (v *Verifier) deny(status int, code, description string) *denial {
	return &denial{
		status:      status,
		code:        code,
		description: description,
		challenge:   fmt.Sprintf(`%s, error="%s", error_description="%s"`, v.realm(), code, quotable(description)),
	}
}

func (d *denial) answer(w http.ResponseWriter) {
	body, err := json.Marshal(map[string]string{"error": d.code, "error_description": d.description})
	if err != nil {
		http.Error(w, d.code, d.status)
		return
	}
	h := w.Header()
	if d.challenge != "" {
		h.Set("WWW-Authenticate", d.challenge)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(d.status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		return // the caller is gone, and with it who could be told
	}
}

// quotable leaves out what may not stand in the quoted strings of WWW-Authenticate (RFC 6750 section 3).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}
