package m2m

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the token endpoint refuses for; match with errors.Is on an error of Token. Each says who has to do what:
// asking again changes nothing, but for ErrRateLimited and ErrUnavailable, which were retried already.
var (
	// ErrWrongSecret: put the app's current secret where the credentials are kept (recorded: token-bad-secret,
	// token-deleted-secret).
	ErrWrongSecret = errors.New("the app secret is wrong or was deleted")
	// ErrSecretExpired: make a new secret for the app and store it. Logto answers 400 invalid_request for it, not
	// invalid_client (recorded: token-expired-secret).
	ErrSecretExpired = errors.New("the app secret has expired")
	// ErrUnknownApp: correct the app id, or the endpoint of another tenant (recorded: token-unknown-client).
	ErrUnknownApp = errors.New("the tenant has no such app")
	// ErrUnknownResource: correct the resource indicator, to the letter (recorded: token-unknown-resource,
	// token-resource-trailing-slash, token-no-resource).
	ErrUnknownResource = errors.New("the tenant has no such API resource")
	// ErrNotInOrganization: add the app to the organization (recorded: token-organization-not-member).
	ErrNotInOrganization = errors.New("the app is not in the organization")
	// ErrGrantNotAllowed: the app is not a machine-to-machine app: make one (recorded:
	// token-authorization-code-grant, the same answer for another grant).
	ErrGrantNotAllowed = errors.New("the app may not use client_credentials")
	// ErrQuotaExceeded: the tenant's token quota is used up until the period ends; never retried.
	ErrQuotaExceeded = errors.New("the tenant's token quota is used up")
	// ErrRateLimited: the tenant is asked too often; run later, or less at once.
	ErrRateLimited = errors.New("the token endpoint is asked too often")
	// ErrUnavailable: the token endpoint answers 5xx; run later.
	ErrUnavailable = errors.New("the token endpoint is out of order")
)

// mend says what an operator should do about a sentinel.
func mend(kind error) string {
	switch kind {
	case ErrWrongSecret:
		return "store the app's current secret (Logto console > Applications > the app > App secrets)"
	case ErrSecretExpired:
		return "make a new secret (Logto console > Applications > the app > App secrets) and store it"
	case ErrUnknownApp:
		return "check the app id, and that the endpoint is that of the app's tenant"
	case ErrUnknownResource:
		return "use the API identifier exactly as in Logto console > API resources, trailing slash included"
	case ErrNotInOrganization:
		return "add the app to the organization (Logto console > Organizations > the organization > Machine-to-machine)"
	case ErrGrantNotAllowed:
		return "use an app of type machine-to-machine (Logto console > Applications > Create)"
	case ErrQuotaExceeded:
		return "wait for the next period or raise the tenant's plan; every cold start costs a token"
	case ErrRateLimited:
		return "run later, or fewer functions at once"
	case ErrUnavailable:
		return "run later; if it lasts, look at the tenant's status"
	}
	return "check that this is the token endpoint of the app's tenant"
}

// TokenError is a refusal by the token endpoint.
type TokenError struct {
	Status      int           // the HTTP status
	Code        string        // error (RFC 6749 section 5.2), or Logto's code where there is none
	Description string        // error_description, shortened
	RequestID   string        // Logto-Core-Request-Id, by which the server's log is found; may be empty
	RetryAfter  time.Duration // what the answer asked to wait; zero: nothing

	TokenURL       string
	AppID          string
	Resource       string
	OrganizationID string

	kind error // one of the sentinels, or nil
}

// Error names app, resource, the answer and the mend.
func (e *TokenError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "token for %s: %s refused app %s", target(e.Resource, e.OrganizationID), e.TokenURL, e.AppID)
	if e.kind != nil {
		fmt.Fprintf(&b, ": %v", e.kind)
	}
	fmt.Fprintf(&b, " (%d", e.Status)
	if e.Code != "" {
		fmt.Fprintf(&b, " %s", e.Code)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", e.Description)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, "; request %s", e.RequestID)
	}
	fmt.Fprintf(&b, "): %s", mend(e.kind))
	return b.String()
}

// Unwrap returns the sentinel that the refusal stands for, or nil.
func (e *TokenError) Unwrap() error { return e.kind }

// temporary tells whether asking again may help.
func (e *TokenError) temporary() bool { return e.kind == ErrRateLimited || e.kind == ErrUnavailable }

// refusesSecret tells whether another secret may help.
func (e *TokenError) refusesSecret() bool {
	return e.Code == "invalid_client" || e.kind == ErrSecretExpired
}

// kindOf sorts an answer of the token endpoint by what is to be done, as recorded from a real Logto.
func kindOf(status int, code, logtoCode, description string) error {
	switch {
	case logtoCode == "auth.exceed_token_limit":
		return ErrQuotaExceeded
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status >= 500:
		return ErrUnavailable
	case code == "invalid_client" && status == http.StatusBadRequest:
		return ErrUnknownApp
	case code == "invalid_client":
		return ErrWrongSecret
	case code == "invalid_request" && strings.Contains(description, "secret has expired"):
		return ErrSecretExpired
	case code == "invalid_target":
		return ErrUnknownResource
	case code == "access_denied" && strings.Contains(description, "organization"):
		return ErrNotInOrganization
	case code == "unauthorized_client", strings.Contains(description, "grant type is not allowed"):
		return ErrGrantNotAllowed
	}
	return nil
}

// ScopeError says that the token endpoint granted less than was asked. Logto answers 200 and leaves out what an app has
// no role for (recorded: token-own-api-one-scope-not-granted, token-no-role).
type ScopeError struct {
	AppID    string
	Resource string
	Asked    []string
	Granted  []string
	Missing  []string
}

// Error names what is missing and where to grant it.
func (e *ScopeError) Error() string {
	granted := "nothing"
	if len(e.Granted) > 0 {
		granted = strings.Join(e.Granted, " ")
	}
	return fmt.Sprintf("token for %s: app %s asked for scope %q and was granted %s; missing: %s. "+
		"Grant it in Logto console > Roles > a machine-to-machine role > Permissions, "+
		"and assign that role in Applications > the app > Roles. "+
		"A permission that the list does not offer has to be added first, in API resources > %s > Permissions",
		e.Resource, e.AppID, strings.Join(e.Asked, " "), granted, strings.Join(e.Missing, " "), e.Resource)
}

// missing returns what of asked is not in granted.
func missing(asked, granted []string) []string {
	var missed []string
	for _, scope := range asked {
		if !slices.Contains(granted, scope) {
			missed = append(missed, scope)
		}
	}
	return missed
}

// RejectedError says that an API answered 401 to a token that is too new to have expired. Another token would be
// refused too and would cost one of the tenant's quota, so none was asked for: the configuration has to change.
type RejectedError struct {
	Origin   string        // the API that refused
	AppID    string        // the app that the token is for
	Resource string        // the token's audience
	Issuer   string        // the token endpoint's origin
	Age      time.Duration // the token's age
}

// Error names what to compare.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("%s refused (401) an access token that app %s got %s ago for resource %s: the next one would be refused too. "+
		"Check that %s is the audience that this API expects, and that it accepts tokens issued by %s "+
		"(the Management API of Logto Cloud takes none that came from a custom domain)",
		e.Origin, e.AppID, e.Age.Round(time.Millisecond), e.Resource, e.Resource, e.Issuer)
}

func target(resource, organization string) string {
	switch {
	case organization == "":
		return resource
	case resource == "":
		return "organization " + organization
	}
	return resource + " in organization " + organization
}
