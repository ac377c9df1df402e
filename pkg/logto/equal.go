package logto

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// EqualData tells whether Logto would store a and b as the same JSON value: key order is irrelevant, numbers are
// compared as numbers (1, 1.0 and 1e0 are one), whatever their Go type, and to the last digit. A value that is not JSON
// equals nothing.
func EqualData(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && a == b
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !EqualData(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, EqualData)
	}
	an, aok := literal(a)
	bn, bok := literal(b)
	if !aok || !bok {
		return false
	}
	if an == bn {
		return isNumber(an)
	}
	ad, aok := parseDecimal(an)
	bd, bok := parseDecimal(bn)
	return aok && bok && ad == bd
}

// literal is the JSON literal of a number of any Go type.
func literal(v any) (string, bool) {
	switch v := v.(type) {
	case json.Number:
		return string(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), !math.IsNaN(v)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), v == v
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}
