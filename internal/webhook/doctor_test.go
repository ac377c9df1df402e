package webhook_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
)

func TestDoctorOfTheWebhookLooksAtItsSigningKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hook.json")
	environment := function.Environment{"SIGNING_SECRET_FILE": file, "EVENT_BUS": "shop"}
	for name, test := range map[string]struct {
		secret string
		result doctor.Result
		says   []string
	}{
		"right":           {`{"signingKey": "logtotestSecret0123456789", "hookId": "h1"}`, doctor.OK, []string{`well-formed, of webhook "h1"`}},
		"without its id":  {`{"signingKey": "logtotestSecret0123456789"}`, doctor.Warn, []string{"the repair cannot look", `"hookId"`}},
		"the placeholder": {`{"signingKey": "fill-in", "hookId": "fill-in"}`, doctor.Fail, []string{"as a placeholder has", "Console > Webhooks"}},
		"not JSON":        {`logtotestSecret`, doctor.Fail, []string{"not a JSON object"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.secret), 0o600); err != nil {
				t.Fatal(err)
			}
			report := webhook.Doctor(environment).Examine(t.Context(), "this test")
			found := map[string]doctor.Finding{}
			for _, line := range report.Checks {
				found[line.Check] = line.Finding
			}
			key := found["signing key"]
			if key.Result != test.result {
				t.Errorf("%+v, want %s", key, test.result)
			}
			for _, part := range test.says {
				if !strings.Contains(key.Found+key.Mend, part) {
					t.Errorf("%+v does not say %q", key, part)
				}
			}
			if strings.Contains(key.Found+key.Mend, "logtotestSecret") {
				t.Error("the key is printed")
			}
			// It may do without an app: only the repair needs one.
			if found["secret"].Result != doctor.NotApplicable || found["token"].Result != doctor.NotApplicable || found["bus"].Result != doctor.NotApplicable {
				t.Errorf("%+v", found)
			}
		})
	}
	if report := webhook.Doctor(function.Environment{}).Examine(t.Context(), ""); report.Well || !strings.Contains(report.Checks[0].Found, "EVENT_BUS is not set") {
		t.Errorf("%+v", report)
	}
}
