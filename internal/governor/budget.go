package governor

import (
	"fmt"
	"strconv"
	"strings"
)

// Logto Cloud takes 200 requests in 10 seconds from everybody who uses a tenant, the users who sign in included.
const (
	cloudRate   = 20 // requests a second
	cloudSuffix = ".logto.app"
	cloudShare  = 0.5 // of it is ours, unless a Budget says otherwise
)

// Budget is how many requests a tenant is sent. The zero value is half of Logto Cloud's limit where the tenant's host says
// that it is one of Logto Cloud (*.logto.app), and no limit anywhere else. Every other value, made from text by
// UnmarshalText, holds for whatever host.
type Budget struct {
	explicit  bool
	perSecond float64 // zero: no limit
}

// ParseBudget reads a Budget:
//
//	50%     of Logto Cloud's limit of 200 requests in 10 seconds
//	25/s    so many requests a second
//	none    no limit
//	        (empty) the zero value
func ParseBudget(text string) (Budget, error) {
	number, unit := text, ""
	for _, u := range []string{"%", "/s"} {
		if n, ok := strings.CutSuffix(text, u); ok {
			number, unit = n, u
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	switch {
	case text == "":
		return Budget{}, nil
	case text == "none":
		return Budget{explicit: true}, nil
	case err == nil && unit == "%" && value > 0 && value <= 100:
		return Budget{true, value / 100 * cloudRate}, nil
	case err == nil && unit == "/s" && value > 0 && value <= 10000:
		return Budget{true, value}, nil
	}
	return Budget{}, fmt.Errorf("%.20q is no budget: want such as 50%%, 25/s or none", text)
}

// UnmarshalText implements encoding.TextUnmarshaler as ParseBudget.
func (b *Budget) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBudget(string(text))
	return err
}

// For is the budget of the tenant on that host, in requests a second. Zero: no limit.
func (b Budget) For(host string) float64 {
	if !b.explicit && strings.HasSuffix(strings.ToLower(host), cloudSuffix) {
		return cloudShare * cloudRate
	}
	return b.perSecond
}
