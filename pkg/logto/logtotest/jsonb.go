package logtotest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// object is custom data as Logto keeps it: JavaScript reads it, PostgreSQL's jsonb stores it, JavaScript writes it.
// Numbers are therefore float64.
type object map[string]any

// field is a member of a JSON object.
type field struct {
	key   string
	value any
}

// fields is a JSON object whose members have an order, as those of a JavaScript object have.
type fields []field

// appendJSON writes a value as JavaScript's JSON.stringify would: no HTML escaping, numbers as ECMAScript prints them (so
// does encoding/json), keys of custom data as jsonb orders them, fields in their own order.
func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case string:
		if isPlain(v) {
			return append(append(append(b, '"'), v...), '"'), nil
		}
	case object:
		return appendJSON(b, map[string]any(v))
	case map[string]any:
		keys := jsonbKeys(v)
		return appendList(b, '{', '}', len(keys), func(b []byte, i int) ([]byte, error) {
			return appendMember(b, keys[i], v[keys[i]])
		})
	case fields:
		return appendList(b, '{', '}', len(v), func(b []byte, i int) ([]byte, error) {
			return appendMember(b, v[i].key, v[i].value)
		})
	case []any:
		return appendList(b, '[', ']', len(v), func(b []byte, i int) ([]byte, error) { return appendJSON(b, v[i]) })
	case []fields:
		return appendList(b, '[', ']', len(v), func(b []byte, i int) ([]byte, error) { return appendJSON(b, v[i]) })
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...), nil
}

func appendList(b []byte, open, end byte, n int, element func(b []byte, i int) ([]byte, error)) ([]byte, error) {
	b = append(b, open)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = element(b, i); err != nil {
			return nil, err
		}
	}
	return append(b, end), nil
}

func appendMember(b []byte, key string, value any) ([]byte, error) {
	b, err := appendJSON(b, key)
	if err != nil {
		return nil, err
	}
	return appendJSON(append(b, ':'), value)
}

// isPlain tells whether a string needs no escape in JSON.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// jsonbKeys orders keys as they come out of Logto: jsonb orders by length in bytes, then by bytes (recorded:
// custom-data-patch-bignum), and a JavaScript object then shows keys that are array indices first.
func jsonbKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		ai, bi := isArrayIndex(a), isArrayIndex(b)
		if ai != bi {
			if ai {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return keys
}

func isArrayIndex(k string) bool {
	n, err := strconv.ParseUint(k, 10, 32)
	return err == nil && n < math.MaxUint32 && strconv.FormatUint(n, 10) == k
}

// parseJSON reads one JSON value as JavaScript does: every number becomes a double.
func parseJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("data after the JSON value")
	}
	return toJS(v), nil
}

// toJS turns decoded or Go-made JSON into what JavaScript would hold. Infinity, which JSON has not, becomes null, as
// JSON.stringify makes it.
func toJS(v any) any {
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || math.IsInf(f, 0) {
			return nil
		}
		return toJS(f)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil
		}
		if v == 0 {
			return 0.0 // JavaScript prints -0 as 0
		}
		return v
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = toJS(e)
		}
		return m
	case []any:
		s := make([]any, len(v))
		for i, e := range v {
			s[i] = toJS(e)
		}
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	parsed, err := parseJSON(raw)
	if err != nil {
		return fmt.Sprint(v)
	}
	return parsed
}

// fromJS gives a copy of a stored value with json.Number for the numbers.
func fromJS(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = fromJS(e)
		}
		return m
	case []any:
		s := make([]any, len(v))
		for i, e := range v {
			s[i] = fromJS(e)
		}
		return s
	case float64:
		b, err := appendJSON(nil, v)
		if err != nil {
			return nil
		}
		return json.Number(b)
	}
	return v
}

// unstorable tells whether a body that is valid JSON has a string that PostgreSQL refuses: with U+0000 (recorded:
// custom-data-patch-nul) or half a surrogate pair. Both can only be written as escapes.
func unstorable(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		switch u := escape(raw[i-1:]); {
		case u == 0 || u >= 0xDC00 && u <= 0xDFFF:
			return true
		case u >= 0xD800 && u <= 0xDBFF:
			if low := escape(raw[min(i+5, len(raw)):]); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 6
		}
	}
	return false
}

// escape returns the code unit of the \uXXXX that b begins with, or -1.
func escape(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
