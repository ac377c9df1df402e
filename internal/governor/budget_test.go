package governor_test

import (
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/governor"
)

func TestBudgets(t *testing.T) {
	tests := map[string]struct {
		text, host string
		want       float64
	}{
		"half on Logto Cloud":        {"", "tenant.logto.app", 10},
		"in upper case":              {"", "Tenant.LOGTO.app", 10},
		"no limit on one's own":      {"", "logto.example.com", 0},
		"nor on a name like it":      {"", "notlogto.app", 0},
		"a part of Cloud's limit":    {"25%", "tenant.logto.app", 5},
		"of a host of another name":  {"50%", "127.0.0.1", 10},
		"all of it":                  {"100%", "127.0.0.1", 20},
		"a rate":                     {"2.5/s", "logto.example.com", 2.5},
		"none, even on Logto Cloud":  {"none", "tenant.logto.app", 0},
		"more than Cloud has, given": {"100/s", "tenant.logto.app", 100},
	}
	for name, test := range tests {
		if got := budget(t, test.text).For(test.host); got != test.want {
			t.Errorf("%s: %v requests a second, want %v", name, got, test.want)
		}
	}
	for _, wrong := range []string{"50", "0%", "101%", "-1/s", "0/s", "NaN%", "Inf/s", "%", "/s", "half", "50 %"} {
		if b, err := governor.ParseBudget(wrong); err == nil {
			t.Errorf("%q is the budget %+v", wrong, b)
		}
	}
}
