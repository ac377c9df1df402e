package jobs

import "strings"

// isName tells whether s has 1 to limit letters, digits, hyphens and characters of more. Regular expressions with such
// counts take a millisecond to compile, at every cold start.
func isName(s string, limit int, more string) bool {
	return s != "" && len(s) <= limit && strings.IndexFunc(s, func(r rune) bool { return !isNameRune(r, more) }) < 0
}

func isNameRune(r rune, more string) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || strings.ContainsRune(more, r)
}

// isScheduleName tells whether schedules and rules may be called so (their APIs' Name parameter).
func isScheduleName(s string) bool { return isName(s, 64, "._") }
