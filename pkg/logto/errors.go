package logto

import "errors"

// What a caller can act on; match with errors.Is on any error of Client.
var (
	ErrNotFound     = errors.New("not found")    // the user does not exist (any more)
	ErrUnauthorized = errors.New("unauthorized") // the token is not for this API
	ErrForbidden    = errors.New("forbidden")    // the token lacks the scope "all"
	ErrRateLimited  = errors.New("rate limited") // the tenant's limit; slow down
	ErrUnavailable  = errors.New("unavailable")  // 5xx: try again later
)

// Error is an answer of the Management API other than success.
type Error struct {
	Status    int    // the HTTP status
	Code      string // Logto's code, such as "entity.not_found"; empty if the answer had none
	Message   string // Logto's message
	RequestID string // Logto-Core-Request-Id, by which the server's log is found
	Method    string // the request's method
	Path      string // the request's path, without the query
}

// Error implements error.
func (e *Error) Error() string { panic("TODO") }

// Is matches the sentinels of this package by status.
func (e *Error) Is(target error) bool { panic("TODO") }
