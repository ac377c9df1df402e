package logto

import (
	"math/big"
	"strconv"
	"strings"
)

// decimal is the exact value of a JSON number in one spelling: ± 0.digits × 10^exponent, without zeros at either end of the
// digits. Two are == exactly if the numbers are equal. No digit is ever made out of an exponent, so 1e999999999 is as cheap
// as 1.
type decimal struct {
	negative bool
	digits   string // empty: zero
	exponent string // in decimal
}

// parseDecimal reads a JSON number (RFC 8259 section 6).
func parseDecimal(s string) (decimal, bool) {
	if !isNumber(s) {
		return decimal{}, false
	}
	var d decimal
	s, d.negative = strings.CutPrefix(s, "-")
	mantissa, exponent := s, "0"
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	shift := len(whole) - (len(whole) + len(fraction) - len(digits)) // where the point stands before the first digit
	if d.digits = strings.TrimRight(digits, "0"); d.digits == "" {
		return decimal{}, true
	}
	if n, err := strconv.ParseInt(exponent, 10, 32); err == nil {
		d.exponent = strconv.FormatInt(n+int64(shift), 10)
		return d, true
	}
	n, ok := new(big.Int).SetString(exponent, 10)
	if !ok {
		return decimal{}, false
	}
	d.exponent = n.Add(n, big.NewInt(int64(shift))).String()
	return d, true
}

// isNumber tells whether s is a JSON number.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	leadingZero := strings.HasPrefix(s, "0")
	before := len(s)
	if !digits() || leadingZero && before-len(s) > 1 {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if s = rest; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// lossy says what would become of a number in Logto, which reads it as an IEEE 754 double and prints the shortest digits
// that give this double again (recorded: custom-data-patch-bignum). Empty: the same number.
func lossy(s string) string {
	if len(s) <= 15 && isNumber(s) && !strings.ContainsAny(s, ".eE") {
		return "" // a whole number of so few digits is kept, and most are
	}
	want, ok := parseDecimal(s)
	if !ok {
		return "is not a JSON number"
	}
	// ParseFloat gives ±Inf with an error for what is too large.
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "the number is too large for JavaScript, which would store null: send it as a string"
	}
	if got, ok := parseDecimal(strconv.FormatFloat(f, 'g', -1, 64)); !ok || got != want {
		return "the number has more digits than a JavaScript number keeps: send it as a string"
	}
	return ""
}
