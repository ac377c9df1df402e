package logtotest

import "net/http"

// Messages of the Management API.
const (
	msgUnauthorized = "Unauthorized. Please check credentials and its scope."
	msgForbidden    = "Forbidden. Please check your user roles and permissions."
	msgNotFound     = "The resource does not exist."
)

// apiError is an error of the Management API: {code, message}.
func apiError(status int, code, message string) answer {
	return apiErrorWith(status, code, message, nil, "")
}

// apiErrorWith is an error with data and details: {code, data, details, message}.
func apiErrorWith(status int, code, message string, data any, details string) answer {
	body := fields{{"code", code}}
	if data != nil {
		body = append(body, field{"data", data})
	}
	if details != "" {
		body = append(body, field{"details", details})
	}
	return answer{status: status, body: append(body, field{"message", message})}
}

// internalError is what Logto answers where it failed (recorded: custom-data-patch-nul).
func internalError() answer {
	return answer{status: http.StatusInternalServerError, body: fields{{"message", "Internal server error."}}}
}

func notFound() answer { return apiError(http.StatusNotFound, "entity.not_found", msgNotFound) }

// oidcMessage is Logto's own message beside those of the OAuth protocol.
func oidcMessage(code string) string {
	switch code {
	case "invalid_request":
		return "Request is invalid."
	case "invalid_target":
		return "Invalid resource indicator."
	case "access_denied":
		return "Access denied."
	case "unsupported_grant_type":
		return "Unsupported `grant_type` requested."
	}
	return "An OIDC error occurred: oidc." + code + "."
}

// oidcError is an error of the token endpoint: {code, message, error, error_description}.
func oidcError(status int, code, description string) answer {
	return answer{status: status, body: fields{
		{"code", "oidc." + code},
		{"message", oidcMessage(code)},
		{"error", code},
		{"error_description", description},
	}}
}
