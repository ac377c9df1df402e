package function

import (
	"net/http"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
)

// withinBudget keeps requests to Logto Cloud, token requests included, at half of the tenant's limit. Requests to other
// hosts pass: a server of one's own has no limit.
func withinBudget(base http.RoundTripper) http.RoundTripper {
	return &cloudBudget{base: base, budget: customdata.NewBudget(base, customdata.CloudBudget)}
}

type cloudBudget struct{ base, budget http.RoundTripper }

func (c *cloudBudget) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(strings.ToLower(req.URL.Hostname()), ".logto.app") {
		return c.budget.RoundTrip(req)
	}
	return c.base.RoundTrip(req)
}
