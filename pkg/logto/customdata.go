package logto

// DataError says why custom data can't be sent.
type DataError struct {
	Path   string // where in the data, as "orders.total" or "tags[3]"; empty for the whole
	Reason string // what is wrong and what to do about it
}

// Error implements error.
func (e *DataError) Error() string { panic("TODO") }

// CheckCustomData refuses, with a *DataError, what Logto would corrupt (a number that loses digits as a JavaScript
// number), choke on (U+0000, half a surrogate pair, invalid UTF-8), or refuse (more than MaxBody). Values are those of
// encoding/json: map[string]any, []any, string, bool, nil, json.Number, float64 and the integer types.
func CheckCustomData(data map[string]any) error { panic("TODO") }

// EqualData tells whether Logto would store a and b as the same JSON value: key order is irrelevant, numbers are
// compared as numbers (1, 1.0 and 1e0 are one).
func EqualData(a, b any) bool { panic("TODO") }
