package doctor_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/shop"
)

func TestAScopeIsUsedIfSomethingThatWasCalledNeedsIt(t *testing.T) {
	access := func(scopes ...string) doctor.Access {
		return doctor.Access{To: "the own API", Scopes: scopes, Needs: shop.Scopes()}
	}
	called := map[string]int64{"GET /orders": 2, "GET /customers": 7}
	for name, test := range map[string]struct {
		access doctor.Access
		called map[string]int64
		unused []string
		says   string
	}{
		"minimal":         {access("read:orders"), called, []string{}, "Minimal"},
		"one too many":    {access("read:orders", "write:products"), called, []string{"write:products"}, "Nothing that it called needs write:products: ask for less"},
		"nothing called":  {access("read:orders"), nil, []string{}, "Nothing can be said"},
		"a call unknown":  {access("read:orders"), map[string]int64{"other": 1}, []string{"read:orders"}, "ask for less"},
		"nothing smaller": {doctor.Access{Scopes: []string{"all"}, Needs: map[string]string{"GET /api/users": "all"}, Limits: []string{"the secret"}}, map[string]int64{"GET /api/users": 1}, []string{}, "There is no smaller permission than all"},
	} {
		t.Run(name, func(t *testing.T) {
			use := doctor.NewUse("job", test.access, 3, test.called)
			if diff := cmp.Diff(test.unused, use.Unused); diff != "" {
				t.Errorf("unused (-want +got):\n%s", diff)
			}
			if !strings.Contains(use.Verdict, test.says) {
				t.Errorf("%q does not say %q", use.Verdict, test.says)
			}
		})
	}
	want := []doctor.Call{{Route: "GET /customers", Times: 7, Scope: "read:orders"}, {Route: "GET /orders", Times: 2, Scope: "read:orders"}}
	if diff := cmp.Diff(want, doctor.NewUse("job", access("read:orders"), 3, called).Calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"read:products", "write:products"}, access("read:orders").Others()); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
}
