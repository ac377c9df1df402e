package logto

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxBody is how large the body of a request may be, in bytes: {"customData": ...} as JSON. Logto's JSON parser takes 1 MiB
// (recorded: 110 kB are taken, 1,100 kB are answered with 404).
const MaxBody = 1 << 20

// maxDepth is how deep custom data may be nested, the outermost object included.
const maxDepth = 1000

// DataError says why custom data can't be sent.
type DataError struct {
	Path   string // where in the data, as "orders.total" or "tags[3]"; empty for the whole
	Reason string // what is wrong and what to do about it; never a value of the data
}

// Error implements error.
func (e *DataError) Error() string {
	if e.Path == "" {
		return "custom data: " + e.Reason
	}
	return "custom data at " + e.Path + ": " + e.Reason
}

// CheckCustomData refuses, with a *DataError, what Logto would corrupt (a number that loses digits as a JavaScript
// number), choke on (U+0000, half a surrogate pair, invalid UTF-8), or refuse (more than MaxBody). Values are those of
// encoding/json: map[string]any, []any, string, bool, nil, json.Number, float64 and the integer types.
//
// Half a surrogate pair can only be seen before decoding, because encoding/json replaces it: read JSON with ParseCustomData.
func CheckCustomData(data map[string]any) error {
	_, err := encode(data)
	return err
}

// encode checks data and makes the body of a request.
func encode(data map[string]any) ([]byte, error) {
	if data == nil {
		data = map[string]any{}
	}
	if err := check(nil, data); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		CustomData map[string]any `json:"customData"`
	}{data}); err != nil {
		return nil, fmt.Errorf("encoding custom data: %w", err)
	}
	body := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(body) > MaxBody {
		return nil, &DataError{Reason: fmt.Sprintf("%d bytes as JSON, Logto takes %d: keep less in custom data", len(body), MaxBody)}
	}
	return body, nil
}

// check walks through data; path is the way to it.
func check(path []string, v any) error {
	refuse := func(format string, args ...any) error {
		return &DataError{Path: join(path), Reason: fmt.Sprintf(format, args...)}
	}
	tooDeep := len(path) >= maxDepth
	switch v := v.(type) {
	case nil, bool:
		return nil
	case string:
		if reason := badText(v); reason != "" {
			return refuse("the text has %s", reason)
		}
		return nil
	case map[string]any:
		if tooDeep {
			return refuse("nested deeper than %d", maxDepth)
		}
		// In order, so that the same data is always refused for the same reason.
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if reason := badText(k); reason != "" {
				return refuse("the key %.40q has %s", k, reason)
			}
			if err := check(append(path, "."+k), v[k]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		if tooDeep {
			return refuse("nested deeper than %d", maxDepth)
		}
		for i, e := range v {
			if err := check(append(path, "["+strconv.Itoa(i)+"]"), e); err != nil {
				return err
			}
		}
		return nil
	}
	number, ok := literal(v)
	if !ok {
		return refuse("a Go value of type %T is not JSON: use map[string]any, []any, string, bool, nil or a number", v)
	}
	if reason := lossy(number); reason != "" {
		return refuse("%s", reason)
	}
	return nil
}

// join makes "orders.total" or "tags[3]" of a path, and shortens a long one.
func join(path []string) string { return clean(strings.TrimPrefix(strings.Join(path, ""), ".")) }

func badText(s string) string {
	switch {
	case strings.ContainsRune(s, 0):
		return "a NUL character (U+0000), which Logto answers with 500: remove it"
	case !utf8.ValidString(s):
		return "invalid UTF-8: convert it to UTF-8"
	}
	return ""
}
