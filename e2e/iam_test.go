//go:build e2e && iam

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// unchecked are statements that no run here needs: mostly for what AWS itself does in a role's name, which the emulator does
// without looking at policies.
// If it begins to look, the test fails, and they are to be taken off this list.
var unchecked = map[string]string{
	"WriteLogs":  "Lambda writes the logs",
	"SendFailed": "Lambda sends what failed",
	"TakeRows":   "Lambda polls the queue",
	"DropPlans":  "only a plan of more than 5 MiB is dropped: TestAnUploadThatIsGivenUpNeedsItsOwnPermission",
}

// less is a policy without one action on one resource.
func less(p emulator.Policy, statement, action, resource int) emulator.Policy {
	p.Statement = slices.Clone(p.Statement)
	whole := p.Statement[statement]
	p.Statement = slices.Delete(p.Statement, statement, statement+1)
	// What is left of it: the other actions, and this one on the other resources.
	if others := slices.Delete(slices.Clone(whole.Action), action, action+1); len(others) > 0 {
		rest := whole
		rest.Sid, rest.Action = whole.Sid+"Others", others
		p.Statement = append(p.Statement, rest)
	}
	if others := slices.Delete(slices.Clone(whole.Resource), resource, resource+1); len(others) > 0 {
		rest := whole
		rest.Sid, rest.Action, rest.Resource = whole.Sid+"Elsewhere", whole.Action[action:action+1], others
		p.Statement = append(p.Statement, rest)
	}
	return p
}

// TestEveryStatementIsNeeded takes out of the deployed functions' roles each action on each resource, one at a time, and
// does all that the function can do. It must fail then, saying that this action is denied. With all of them it succeeds:
// nothing is missing, and nothing is too much.
func TestEveryStatementIsNeeded(t *testing.T) {
	s := shared.stack
	roles := map[string]string{}
	resources, err := shared.aws.Resources(t.Context(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resources {
		roles[r.LogicalID] = r.ID
	}
	var shut atomic.Bool
	hook := s.tenant.AddHook(s.gate(t, &shut), logtotest.UserCreated)
	if err := s.putSecret(t.Context(), stackName+"/signing-key", map[string]string{"signingKey": hook.SigningKey, "hookId": hook.ID}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		job, role string
		exercise  func(t *testing.T, round int) (said string)
	}{
		{function.DailyOrders, "DailyOrdersRole", s.exerciseOrders},
		{function.SyncCustomData, "SyncCustomDataRole", s.exerciseSync},
		{rotation.Name, "RotateSecretRole", s.exerciseRotation},
		{webhook, "LogtoWebhookRole", func(t *testing.T, round int) string { return s.exerciseWebhook(t, round, &shut) }},
	} {
		whole, err := shared.aws.RolePolicy(t.Context(), roles[f.role], f.job)
		if err != nil {
			t.Fatal(err)
		}
		round := 0
		try := func(t *testing.T, p emulator.Policy) string {
			t.Helper()
			round++
			if err := shared.aws.SetRolePolicy(t.Context(), roles[f.role], f.job, p); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := shared.aws.SetRolePolicy(context.Background(), roles[f.role], f.job, whole); err != nil {
					t.Error(err)
				}
			})
			// What a warm process has it does not ask for.
			if _, err := shared.aws.KillFunction(*s.name(f.job)); err != nil {
				t.Fatal(err)
			}
			before := len(s.log(t, f.job))
			said := f.exercise(t, round)
			return said + s.log(t, f.job)[before:]
		}
		t.Run(f.job+" with all", func(t *testing.T) {
			if said := try(t, whole); denied(said, "") {
				t.Fatalf("something is missing:\n%s", said)
			}
		})
		for i, statement := range whole.Statement {
			for j, action := range statement.Action {
				for k, resource := range statement.Resource {
					t.Run(fmt.Sprintf("%s without %s %s %d", f.job, statement.Sid, action, k), func(t *testing.T) {
						said := try(t, less(whole, i, j, k))
						switch isDenied := denied(said, action); {
						case unchecked[statement.Sid] != "" && isDenied:
							t.Errorf("the emulator looks at it now: %s (%s)", statement.Sid, unchecked[statement.Sid])
						case unchecked[statement.Sid] == "" && !isDenied:
							t.Errorf("nobody misses %s on %s, or says so:\n%s", action, resource, said)
						}
					})
				}
			}
		}
	}
}

// denied tells whether something said that an action was denied; an empty action is any.
func denied(said, action string) bool {
	for line := range strings.Lines(said) {
		if (strings.Contains(line, "AccessDenied") || strings.Contains(line, "permission denied")) && strings.Contains(line, action) {
			return true
		}
	}
	return false
}

// exerciseOrders has daily-orders do a day with an order that cannot be right: by a schedule, twice, and by hand.
func (s *stack) exerciseOrders(t *testing.T, round int) string {
	at := time.Date(1998, 7, 1, 3, round, 0, 0, time.UTC).Format(time.RFC3339)
	_, first := s.invoke(t, function.DailyOrders, s.slot(t, function.DailyOrders, at))
	_, second := s.invoke(t, function.DailyOrders, s.slot(t, function.DailyOrders, at))
	_, byHand := s.invoke(t, function.DailyOrders, fmt.Appendf(nil, `{"date":%q}`, badDay))
	return first + "\n" + second + "\n" + byHand + "\n"
}

// exerciseSync has sync-custom-data do a file with a bad row, longer than two invocations, so that it is continued twice.
func (s *stack) exerciseSync(t *testing.T, round int) string {
	s.withTimeout(t, function.SyncCustomData, 5)
	s.slowly(t, 160*time.Millisecond)
	text, _ := s.rows(t, 700, fmt.Sprintf("2002-01-01T00:00:%02d", round))
	key := fmt.Sprintf("customers/round-%d.jsonl", round)
	s.put(t, key, `{"bad":"row"}`+"\n"+text)
	event := s.created(t, key, fmt.Sprintf("5b0c9a34-0000-4000-8000-%012d", round))
	answer, failed := s.invoke(t, function.SyncCustomData, event)
	var r jobs.Report
	if failed == "" {
		if err := json.Unmarshal(answer, &r); err != nil {
			t.Fatal(err)
		}
		slot := r.Slot
		eventually(t, 60*time.Second, "the end of "+slot, func() bool {
			return len(s.reports(t, function.SyncCustomData, func(r jobs.Report) bool {
				return r.Slot == slot && (r.Outcome == jobs.OutcomeDone || r.Error != "")
			})) > 0
		})
	}
	return failed + "\n" + s.exercisePlan(t, round) + "\n"
}

// exercisePlan has sync-custom-data make a plan, apply it and take it back.
func (s *stack) exercisePlan(t *testing.T, round int) string {
	key := fmt.Sprintf("customers/plan-%d.jsonl", round)
	s.put(t, key, fmt.Sprintf(`{"primaryEmail":%q,"customData":{"round":%d}}`+"\n", s.orders[70].CustomerEmail, round))
	var r jobs.Report
	said := ""
	for _, payload := range []string{
		`{"action":"plan","source":"s3://%[1]s/` + key + `"}`, `{"action":"apply","plan":"s3://%[1]s/plans/%[2]s.plan"}`, `{"action":"undo","run":"%[2]s"}`,
	} {
		answer, failed := s.invoke(t, function.SyncCustomData, fmt.Appendf(nil, payload, s.outputs["BucketName"], r.RunID))
		if said += failed + "\n"; failed != "" {
			break
		}
		if err := json.Unmarshal(answer, &r); err != nil {
			t.Fatal(err)
		}
	}
	return said
}

// exerciseRotation has rotate-secret rotate each of the secrets, and look at them as it does daily.
func (s *stack) exerciseRotation(t *testing.T, round int) string {
	said := ""
	for i, job := range []string{rotation.Name, function.SyncCustomData, function.DailyOrders, webhook} {
		id := s.called + "/" + job
		version := announce(t, s.secrets, id, 1000+10*round+i)
		for _, step := range steps {
			if _, failed := s.invoke(t, rotation.Name, stepEvent(step, id, version)); failed != "" {
				said += failed + "\n"
				break
			}
		}
		s.abandon(t, id, version)
	}
	_, failed := s.invoke(t, rotation.Name, []byte(`{}`))
	return said + failed + "\n"
}

// abandon ends a rotation that did not get to its end.
func (s *stack) abandon(t *testing.T, id, version string) {
	t.Helper()
	if !slices.Contains(labels(t, s.secrets, id, version), rotation.Pending) {
		return
	}
	_, err := s.secrets.UpdateSecretVersionStage(t.Context(), &sdk.UpdateSecretVersionStageInput{
		SecretId: &id, VersionStage: aws.String(rotation.Pending), RemoveFromVersionId: &version,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exerciseWebhook has logto-webhook take a delivery, and repair one by hand, by its schedule, and dry.
func (s *stack) exerciseWebhook(t *testing.T, round int, shut *atomic.Bool) string {
	s.tenant.AddUser(logtotest.User{PrimaryEmail: fmt.Sprintf("round-%d@example.com", round)})
	s.tenant.FlushHooks()
	shut.Store(true)
	s.tenant.AddUser(logtotest.User{PrimaryEmail: fmt.Sprintf("missed-%d@example.com", round)})
	s.tenant.FlushHooks()
	shut.Store(false)
	_, failed := s.invoke(t, webhook, []byte(`{}`))
	_, again := s.invoke(t, webhook, s.slot(t, "repair", time.Date(2026, 11, 24, 0, round, 0, 0, time.UTC).Format(time.RFC3339)))
	_, dry := s.invoke(t, webhook, []byte(`{"dryRun":true}`))
	return failed + "\n" + again + "\n" + dry + "\n"
}

func TestPolicyWithoutOneActionKeepsTheOthers(t *testing.T) {
	whole := emulator.Policy{Statement: []emulator.Statement{
		{Sid: "A", Action: []string{"a", "b"}, Resource: []string{"x", "y"}}, {Sid: "C", Action: []string{"c"}, Resource: []string{"z"}},
	}}
	want := []emulator.Statement{
		{Sid: "C", Action: []string{"c"}, Resource: []string{"z"}},
		{Sid: "AOthers", Action: []string{"b"}, Resource: []string{"x", "y"}},
		{Sid: "AElsewhere", Action: []string{"a"}, Resource: []string{"y"}},
	}
	if diff := cmp.Diff(want, less(whole, 0, 0, 0).Statement); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(whole.Statement[:1], less(whole, 1, 0, 0).Statement); diff != "" {
		t.Error(diff)
	}
}
