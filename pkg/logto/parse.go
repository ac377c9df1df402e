package logto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// ParseCustomData decodes custom data from JSON as strictly as it must be for nothing to change on the way: numbers stay
// json.Number, and what encoding/json would quietly replace (half a surrogate pair, invalid UTF-8) is refused, as is
// nesting deeper than 1,000. A *DataError says what is wrong. Of a key that comes twice the last one counts, as in
// JavaScript. What Logto would not store, such as U+0000 and large numbers, is for CheckCustomData to find.
func ParseCustomData(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) {
		return nil, &DataError{Reason: "invalid UTF-8: convert it to UTF-8"}
	}
	if at := loneSurrogate(raw); at >= 0 {
		return nil, &DataError{Reason: fmt.Sprintf("half a surrogate pair at byte %d: the text was cut inside a character", at)}
	}
	if depth(raw) > maxDepth {
		return nil, &DataError{Reason: fmt.Sprintf("nested deeper than %d", maxDepth)}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var data map[string]any
	if err := dec.Decode(&data); err != nil {
		return nil, &DataError{Reason: notJSON(err)}
	}
	if data == nil {
		return nil, &DataError{Reason: "is null, not a JSON object"}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &DataError{Reason: fmt.Sprintf("more text after the JSON object, at byte %d", dec.InputOffset())}
	}
	return data, nil
}

// notJSON says where the text is wrong and shows none of it.
func notJSON(err error) string {
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mistyped):
		return "is a JSON " + mistyped.Value + ", not an object"
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON, at byte %d", syntax.Offset)
	}
	return "not JSON: it ends too early"
}

// loneSurrogate finds a \uXXXX escape that is half a surrogate pair; -1 if there is none. Backslashes stand only in strings.
func loneSurrogate(raw []byte) int {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch unit := codeUnit(raw[i:]); {
		case unit < 0:
			i++ // another escape, of one character
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return i
		case unit >= 0xD800 && unit <= 0xDBFF:
			if low := codeUnit(raw[i+6:]); low < 0xDC00 || low > 0xDFFF {
				return i
			}
			i += 11
		default:
			i += 5
		}
	}
	return -1
}

// codeUnit is the value of the \uXXXX that b begins with; -1 if it begins otherwise.
func codeUnit(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// depth is how deep JSON is nested.
func depth(raw []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}
