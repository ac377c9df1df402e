package function_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// examined is what the function answers to {"doctor": true}.
func examined(t *testing.T, name string, environment function.Environment) doctor.Report {
	t.Helper()
	handler, err := function.Handler(name, environment, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	return examination(t, handler)
}

// examination is what a handler answers to {"doctor": true}.
func examination(t *testing.T, handler lambda.Handler) (report doctor.Report) {
	t.Helper()
	answer, err := handler.Invoke(t.Context(), []byte(`{"doctor": true}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answer, &report); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	return report
}

// line is what a check of a report came to.
func line(t *testing.T, r doctor.Report, check string) doctor.Line {
	t.Helper()
	for _, l := range r.Checks {
		if l.Check == check {
			return l
		}
	}
	t.Fatalf("no check %s: %+v", check, r)
	return doctor.Line{}
}

func TestTheFunctionExaminesItselfWhereItRuns(t *testing.T) {
	s := newSurroundings(t, logtotest.Config{}, true)
	s.environment["AWS_LAMBDA_FUNCTION_NAME"] = "shop-sync-custom-data"
	report := examined(t, function.SyncCustomData, s.environment)
	if !report.Well || report.Function != function.SyncCustomData || report.From != "inside shop-sync-custom-data" {
		t.Errorf("%+v", report)
	}
	// On Lambda a run must be remembered where the next environment finds it.
	if store := line(t, report, "store"); store.Result != doctor.Warn || !strings.Contains(store.Mend, "STATE_TABLE") {
		t.Errorf("store: %+v", store)
	}
}

func TestATableThatMayNotBeWrittenToIsNamedWithTheAction(t *testing.T) {
	asked := awsThatDenies(t)
	s := newSurroundings(t, logtotest.Config{}, true)
	s.environment["STATE_TABLE"] = "shop-runs"
	report := examined(t, function.SyncCustomData, s.environment)
	store := line(t, report, "store")
	if report.Well || store.Result != doctor.Fail || !strings.Contains(store.Found, "table shop-runs: the role needs dynamodb:PutItem on it") ||
		!strings.Contains(store.Mend, "make deploy") {
		t.Errorf("store: %+v", store)
	}
	if requests := asked(); len(requests) != 1 {
		t.Errorf("requests: %v", requests)
	}
}

func TestASecretInAWSThatMayNotBeReadIsNamed(t *testing.T) {
	awsThatDenies(t)
	report := examined(t, function.SyncCustomData, function.Environment{"M2M_SECRET_ID": "shop/sync-custom-data", "OUTPUT": "s3://shop"})
	secret, output := line(t, report, "secret"), line(t, report, "output")
	if secret.Result != doctor.Fail || !strings.Contains(secret.Found, "shop/sync-custom-data: the function's role needs secretsmanager:GetSecretValue") ||
		!strings.Contains(secret.Mend, "make deploy") {
		t.Errorf("secret: %+v", secret)
	}
	if output.Result != doctor.Fail || !strings.Contains(output.Found, "s3://shop/rejected/doctor.json") {
		t.Errorf("output: %+v", output)
	}
	if age := line(t, report, "secret age"); age.Result != doctor.NotApplicable || !strings.Contains(age.Found, "m2mjobs doctor --stack") {
		t.Errorf("secret age: %+v", age)
	}
}

func TestAReportTellsWhichRoutesWereCalled(t *testing.T) {
	s := newSurroundings(t, logtotest.Config{}, true)
	handler, err := function.Handler(function.SyncCustomData, s.environment, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	// What the doctor asks is none of a run's calls.
	if _, err := handler.Invoke(t.Context(), []byte(`{"doctor": true}`)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		answer, err := handler.Invoke(t.Context(), []byte(`{"rows": [{"id": "u00000000001", "customData": {"plan": "pro"}, "remove": ["old"]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		var report jobs.Report
		if err := json.Unmarshal(answer, &report); err != nil {
			t.Fatal(err)
		}
		access, _ := function.AccessOf(function.SyncCustomData)
		if len(report.Calls) == 0 || report.Calls["GET /api/users"] != 1 {
			t.Errorf("calls %v", report.Calls)
		}
		for route := range report.Calls {
			if access.Needs[route] == "" {
				t.Errorf("which scope %q needs is not known", route)
			}
		}
	}
}
