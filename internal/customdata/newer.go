package customdata

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fieldPath leads to a field of custom data: ["orders", "asOf"]. Empty: none is compared.
type fieldPath []string

func parsePath(s string) (fieldPath, error) {
	if s == "" {
		return nil, nil
	}
	p := fieldPath(strings.Split(s, "."))
	if slices.Contains(p, "") {
		return nil, fmt.Errorf(`"newer": %q is not a path: name keys with points between them, such as orders.asOf`, s)
	}
	return p, nil
}

func (p fieldPath) String() string { return strings.Join(p, ".") }

// in returns the field's value.
func (p fieldPath) in(data map[string]any) (any, bool) {
	for _, key := range p[:len(p)-1] {
		object, ok := data[key].(map[string]any)
		if !ok {
			return nil, false
		}
		data = object
	}
	value, ok := data[p[len(p)-1]]
	return value, ok
}

// checkRow tells why a row can't be compared, whatever its user has.
func (p fieldPath) checkRow(data map[string]any) (reason string) {
	if len(p) == 0 {
		return ""
	}
	value, ok := p.in(data)
	if !ok {
		return fmt.Sprintf("it has no %s, by which older rows are told (newer): add it", p)
	}
	switch value.(type) {
	case string, json.Number:
		return ""
	}
	return fmt.Sprintf("its %s, by which older rows are told (newer), is neither a text nor a number", p)
}

// stale tells whether a row that passed checkRow is older than what the user has.
func (p fieldPath) stale(row, user map[string]any) (stale bool, reason string) {
	if len(p) == 0 {
		return false, ""
	}
	has, ok := p.in(user)
	if !ok {
		return false, ""
	}
	value, _ := p.in(row)
	switch value := value.(type) {
	case string:
		if has, ok := has.(string); ok {
			return value < has, ""
		}
	case json.Number:
		if has, ok := has.(json.Number); ok {
			return less(value, has), ""
		}
	}
	return false, fmt.Sprintf("its %s and the user's are not both texts or both numbers: which is newer can't be told", p)
}

// less compares numbers as JavaScript, and so Logto, has them. That both are numbers is checked before.
func less(a, b json.Number) bool {
	x, errX := strconv.ParseFloat(a.String(), 64)
	y, errY := strconv.ParseFloat(b.String(), 64)
	return errX == nil && errY == nil && x < y
}
