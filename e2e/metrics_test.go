//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const namespace = "m2mjobs"

// metricName is a metric of the project's own, with its dimensions in order.
func metricName(name string, dimensions map[string]string) string {
	text := name
	for _, key := range slices.Sorted(maps.Keys(dimensions)) {
		text += " " + key + "=" + dimensions[key]
	}
	return text
}

// written are the metrics that a function's log has in CloudWatch's embedded metric format.
func written(t *testing.T, log string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"CloudWatchMetrics"`) {
			continue
		}
		var values map[string]any
		var entry struct {
			AWS struct {
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, set := range entry.AWS.CloudWatchMetrics {
			for _, keys := range set.Dimensions {
				dimensions := map[string]string{}
				for _, key := range keys {
					dimensions[key] = fmt.Sprint(values[key])
				}
				for _, m := range set.Metrics {
					if _, isNumber := values[m.Name].(float64); isNumber && set.Namespace == namespace {
						found[metricName(m.Name, dimensions)] = true
					}
				}
			}
		}
	}
	return found
}

// lookedAt are the project's own metrics that the template's alarms and its dashboard look at, with where.
func lookedAt(t *testing.T) map[string]string {
	t.Helper()
	transformed, err := emulator.Transformed()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`{"Ref": "AWS::StackName"}`, `"`+stackName+`"`, "${AWS::StackName}", stackName).Replace(string(transformed))
	type metric struct {
		Namespace  string
		MetricName string
		Dimensions []struct{ Name, Value any }
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(text), &template); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for id, r := range template.Resources {
		switch r.Type {
		case "AWS::CloudWatch::Alarm":
			var alarm struct {
				metric
				Metrics []struct{ MetricStat struct{ Metric metric } }
			}
			if err := json.Unmarshal(r.Properties, &alarm); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			all := []metric{alarm.metric}
			for _, m := range alarm.Metrics {
				all = append(all, m.MetricStat.Metric)
			}
			for _, m := range all {
				dimensions := map[string]string{}
				for _, d := range m.Dimensions {
					dimensions[fmt.Sprint(d.Name)] = fmt.Sprint(d.Value)
				}
				if m.Namespace == namespace {
					found[metricName(m.MetricName, dimensions)] = id
				}
			}
		case "AWS::CloudWatch::Dashboard":
			var dashboard struct {
				DashboardBody struct {
					Sub string `json:"Fn::Sub"`
				}
			}
			var body struct {
				Widgets []struct{ Properties struct{ Metrics [][]any } }
			}
			if err := json.Unmarshal(r.Properties, &dashboard); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			if err := json.Unmarshal([]byte(dashboard.DashboardBody.Sub), &body); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			for _, widget := range body.Widgets {
				for _, m := range widget.Properties.Metrics {
					dimensions := map[string]string{}
					for i := 2; i+1 < len(m); i += 2 {
						dimensions[fmt.Sprint(m[i])] = fmt.Sprint(m[i+1])
					}
					if m[0] == namespace {
						found[metricName(fmt.Sprint(m[1]), dimensions)] = id
					}
				}
			}
		}
	}
	return found
}

// An alarm on a metric that nobody writes never rings, and nobody notices.
func TestDeployedFunctionsWriteTheMetricsOfTheAlarmsAndTheDashboard(t *testing.T) {
	s := shared.stack
	s.report(t, function.DailyOrders, []byte(`{"date":"1997-04-02"}`))
	for range 2 { // changed, and then unchanged
		s.report(t, function.SyncCustomData, fmt.Appendf(nil, `{"newer":"metrics.asOf","rows":[
			{"primaryEmail":%q,"customData":{"metrics":{"asOf":"2"}}},{"primaryEmail":"nobody@example.com","customData":{"metrics":{"asOf":"2"}}}]}`,
			s.orders[50].CustomerEmail))
	}
	s.report(t, function.SyncCustomData, fmt.Appendf(nil, `{"newer":"metrics.asOf","rows":[{"primaryEmail":%q,"customData":{"metrics":{"asOf":"1"}}}]}`,
		s.orders[50].CustomerEmail))
	// A repair that can look at the logs, and so gets a token. Who comes after has a secret of their own to be read.
	hook := s.tenant.AddHook("http://127.0.0.1:1", logtotest.UserDeleted)
	if err := s.putSecret(t.Context(), stackName+"/signing-key", map[string]string{"signingKey": hook.SigningKey, "hookId": hook.ID}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := shared.aws.KillFunction(*s.name(webhook)); err != nil {
			t.Error(err)
		}
	})
	s.invoke(t, webhook, []byte(`{"dryRun":true}`)) // whatever comes of it, it is counted
	s.invoke(t, rotation.Name, []byte(`{"dryRun":true}`))

	all := map[string]bool{}
	for _, job := range []string{function.DailyOrders, function.SyncCustomData, webhook, rotation.Name} {
		maps.Copy(all, written(t, s.log(t, job)))
	}
	looked := lookedAt(t)
	if len(looked) < 10 {
		t.Errorf("only %d metrics are looked at: %v", len(looked), looked)
	}
	for name, where := range looked {
		if !all[name] {
			t.Errorf("%s looks at %s, which no function writes", where, name)
		}
	}
}
