package m2m

import (
	"errors"
	"fmt"
	"strings"
)

// What Verifier.Verify refuses with; match with errors.Is.
var (
	// ErrInvalidToken: the token is not one for this API, or not any more. Answer 401; the caller needs another token.
	ErrInvalidToken = errors.New("invalid access token")
	// ErrKeysUnavailable: the issuer's keys cannot be had, so the token could not be judged. Answer 503; the same
	// token may be good later.
	ErrKeysUnavailable = errors.New("signing keys unavailable")
)

func invalidToken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidToken, fmt.Sprintf(format, args...))
}

// InsufficientScopeError is a valid token that may not do what was asked. Answer 403; the app needs the missing scopes.
type InsufficientScopeError struct {
	ClientID string   // the app that the token is of
	Required []string // what the request needs
	Missing  []string // what of it the token lacks
}

// Error implements error.
func (e *InsufficientScopeError) Error() string {
	return fmt.Sprintf("the token of app %s lacks %s: grant it to the app by a role, and ask for it with the token",
		e.ClientID, strings.Join(e.Missing, " "))
}
