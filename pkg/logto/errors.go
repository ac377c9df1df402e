package logto

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"
)

// What a caller can act on; match with errors.Is on any error of Client.
var (
	// ErrNotFound: the user, app or secret does not exist (any more). Go on without it. A 404 that is about something else, a wrong endpoint
	// for example, does not match.
	ErrNotFound = errors.New("not found")
	// ErrExists: the app has a secret of this name already. Look for it among its secrets.
	ErrExists = errors.New("exists already")
	// ErrUnauthorized: the token is not for this API. Repeating does not help; the message says what to check.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: the token lacks the scope "all". Repeating does not help until somebody grants it.
	ErrForbidden = errors.New("forbidden")
	// ErrRateLimited: the tenant's limit, which all its clients share, is reached. Slow down and try again later.
	ErrRateLimited = errors.New("rate limited")
	// ErrUnavailable: 5xx. Try again later; a write may have taken effect.
	ErrUnavailable = errors.New("unavailable")
)

// Error is an answer of the Management API other than success.
type Error struct {
	Status    int    // the HTTP status
	Code      string // Logto's code, such as "entity.not_found"; empty if the answer had none
	Message   string // Logto's message; empty if the answer had none
	RequestID string // Logto-Core-Request-Id, by which the server's log is found
	Method    string // the request's method
	Path      string // the request's path, without the query
}

// maxError bounds what is read of an error's body, maxMessage what is kept of the message.
const (
	maxError   = 64 << 10
	maxMessage = 300
)

// newError reads code and message of an answer and nothing else: the data of a 401 may be the claims of the token (recorded:
// api-wrong-audience).
func newError(req *http.Request, resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, RequestID: requestID(resp), Method: req.Method, Path: req.URL.EscapedPath()}
	var body struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	// A body that is not JSON, or broke off, leaves the status, which says enough.
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxError)).Decode(&body); err == nil {
		e.Code, e.Message = clean(body.Code), clean(body.Message)
	}
	if at, err := resp.Location(); err == nil && e.Message == "" {
		e.Message = "leads to " + clean(origin(at))
	}
	return e
}

func requestID(resp *http.Response) string { return clean(resp.Header.Get("Logto-Core-Request-Id")) }

// clean makes a text of the server fit for one line of a log.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// Error implements error: what was asked, what was answered, and how to mend it where that is known.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d", e.Method, e.Path, e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	switch {
	case e.Message != "":
		b.WriteString(": " + e.Message)
	case http.StatusText(e.Status) != "":
		b.WriteString(" " + http.StatusText(e.Status))
	}
	if e.RequestID != "" {
		b.WriteString(" (request id " + e.RequestID + ")")
	}
	if mend := e.mend(); mend != "" {
		b.WriteString("; " + mend)
	}
	return b.String()
}

func (e *Error) mend() string {
	switch {
	case e.Code == "auth.authorization_header_missing", e.Code == "auth.authorization_token_type_not_supported":
		return "the request bore no access token: give the client an http.Client over an m2m.Transport whose Origin is this endpoint"
	case e.Status == http.StatusUnauthorized:
		return "the token is for another API or from another issuer: its resource must be the Management API's (see ManagementResource), " +
			"got at this very endpoint, on Logto Cloud https://{tenant-id}.logto.app and not a custom domain"
	case e.Status == http.StatusForbidden:
		return `the app lacks the scope "all" of the Management API: in Logto's console, give a machine-to-machine role that contains ` +
			`it (Roles) to the app (Applications > your app > Roles), then get a new token`
	case e.Status == http.StatusTooManyRequests:
		return "the tenant's rate limit, shared with its users' sign-ins, is reached (Logto Cloud: 200 requests per 10 s): send fewer, try again later"
	case e.Status == http.StatusNotFound && !e.isNotFound() && e.Method == http.MethodPatch:
		return "either the endpoint is not that of a Logto server, or the body is larger than Logto takes"
	case e.Status == http.StatusNotFound && !e.isNotFound():
		return "this server has no such route: is the endpoint that of a Logto server?"
	case e.Status >= 300 && e.Status < 400:
		return "the endpoint redirects: use the address that it leads to"
	}
	return ""
}

// isNotFound tells whether a 404 is about the thing asked for. An unknown route and a body that is too large have no code
// (recorded: api-unknown-route, custom-data-patch-1100kb).
func (e *Error) isNotFound() bool {
	return e.Status == http.StatusNotFound && (e.Code == "entity.not_found" || strings.Contains(e.Code, "not_exist"))
}

// Is matches the sentinels of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.isNotFound()
	case ErrExists:
		return e.Code == "application.secret_name_exists"
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Status == http.StatusForbidden
	case ErrRateLimited:
		return e.Status == http.StatusTooManyRequests
	case ErrUnavailable:
		return e.Status >= 500
	}
	return false
}
