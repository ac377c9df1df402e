package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestTheEnvironmentsErrorNamesEveryProblem(t *testing.T) {
	tests := map[string]struct {
		environment function.Environment
		want        []string // what begins each problem
	}{
		"nothing": {nil, []string{"SIGNING_SECRET_ID is not set", "EVENT_BUS is not set"}},
		"too much": {function.Environment{
			"SIGNING_SECRET_ID": "a", "SIGNING_SECRET_FILE": "b", "EVENT_BUS": "shop", "M2M_SECRET_ID": "a", "M2M_SECRET_FILE": "b",
			"EVENT_FIELDS": "id,,1st", "LOGTO_BUDGET": "much",
		}, []string{
			"SIGNING_SECRET_ID and SIGNING_SECRET_FILE are both set", "LOGTO_BUDGET is wrong", "M2M_SECRET_ID and M2M_SECRET_FILE are both set",
			`EVENT_FIELDS is wrong ("")`, `EVENT_FIELDS is wrong ("1st")`,
		}},
	}
	for name, test := range tests {
		_, err := New(test.environment)
		var wrong *function.ConfigError
		if !errors.As(err, &wrong) || wrong.Function != Name || len(wrong.Problems) != len(test.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(wrong.Problems[i], want) {
				t.Errorf("%s: %q, want %q", name, wrong.Problems[i], want)
			}
		}
	}
}

func TestEventFields(t *testing.T) {
	tests := map[string]struct {
		list *string
		want []string
	}{
		"unset":   {nil, []string{"id"}},
		"empty":   {new(""), nil},
		"several": {new("id, primaryEmail,id"), []string{"id", "primaryEmail"}},
	}
	for name, test := range tests {
		e := function.Environment{"SIGNING_SECRET_ID": "a", "EVENT_BUS": "shop"}
		if test.list != nil {
			e["EVENT_FIELDS"] = *test.list
		}
		v, err := read(e)
		if diff := cmp.Diff(test.want, v.fields); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// writeFile writes a file that its owner alone may read.
func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheFunctionFromItsEnvironment(t *testing.T) {
	b := newBridge(t)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": b.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	tenant := logtotest.New(t)
	app := tenant.AddApp(Name)
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	signing := writeFile(t, `{"signingKey":"filled-in-below, when it is known"}`)
	log := &buffer{}
	handler, err := newHandler(function.Environment{
		"SIGNING_SECRET_FILE": signing, "EVENT_BUS": busName, "TOKEN_CACHE": t.TempDir(),
		"M2M_SECRET_FILE": writeFile(t, fmt.Sprintf(`{"endpoint":%q,"appId":%q,"appSecret":%q}`, tenant.URL, app.ID, app.Secret)),
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	hook := tenant.AddHook(functionURL(t, handler).URL, logtotest.UserCreated)
	if err := os.WriteFile(signing, fmt.Appendf(nil, `{"signingKey":%q,"hookId":%q}`, hook.SigningKey, hook.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	b.answering(func(int) (int, string) { return 400, `{"__type":"AccessDeniedException","message":"not yet"}` })
	missed := tenant.AddUser(logtotest.User{Username: "missed"})
	tenant.FlushHooks()
	b.answering(nil)
	arrived := tenant.AddUser(logtotest.User{Username: "arrived"})
	tenant.FlushHooks()

	schedule := `{"m2mjobs":{"schedule":"repair","time":"2026-11-24T03:00:00Z","attempt":"1","params":{}}}`
	answer, err := handler.Invoke(t.Context(), []byte(schedule))
	if err != nil {
		t.Fatal(err)
	}
	var report jobs.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		t.Fatal(err)
	}
	if report.Job != Name || report.Counts["repaired"] != 1 || report.Tokens != 1 || report.Requests != 1 {
		t.Errorf("report: %s", answer)
	}
	if diff := cmp.Diff([]string{arrived, missed}, users(t, b.taken())); diff != "" {
		t.Errorf("events on the bus (-want +got):\n%s", diff)
	}
	for what, output := range map[string]string{"log": log.String(), "answer": string(answer)} {
		if strings.Contains(output, hook.SigningKey) || strings.Contains(output, app.Secret) || strings.Contains(output, "eyJ") {
			t.Errorf("the %s has a secret in it", what)
		}
	}
}

func TestNobodyReachesTheRepairByTheFunctionsURL(t *testing.T) {
	log := &buffer{}
	handler, err := newHandler(function.Environment{"SIGNING_SECRET_FILE": "none", "EVENT_BUS": busName}, log)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(request(nil, `{"m2mjobs":{"schedule":"repair","time":"2026-11-24T03:00:00Z"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := handler.Invoke(t.Context(), payload); err != nil || !strings.Contains(string(answer), "401") {
		t.Errorf("%s %v", answer, err)
	}
	if _, err := handler.Invoke(t.Context(), []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "signing secret") {
		t.Errorf("by hand: %v", err)
	}
}

func TestAReceiverWithoutAnAppSaysWhatARepairNeeds(t *testing.T) {
	handler, err := newHandler(function.Environment{
		"SIGNING_SECRET_FILE": writeFile(t, `{"signingKey":"`+documentedKey+`","hookId":"h"}`), "EVENT_BUS": busName,
	}, &buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handler.Invoke(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "set M2M_SECRET_ID") {
		t.Errorf("%v", err)
	}
}

func TestSecretsThatCannotBeUsed(t *testing.T) {
	const key = "logtotestSecretAbCdEfGhIjKlMnOpQ"
	tests := map[string]struct{ content, want string }{
		"not JSON":      {key, "not a JSON object of the form"},
		"another type":  {`{"signingKey":{"x":"` + key + `"}}`, "not a JSON object of the form"},
		"no key":        {`{"signing_key":"` + key + `"}`, `"signingKey" is missing`},
		"a placeholder": {`{"signingKey":"fill-in","hookId":"fill-in"}`, "as a placeholder has"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := fileSecret(writeFile(t, test.content))(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			} else if strings.Contains(err.Error(), key) {
				t.Error("the error has the key in it")
			}
		})
	}
	readable := writeFile(t, `{"signingKey":"`+key+`"}`)
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := fileSecret(readable)(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
}

func TestASecretPrintsWithoutItsKey(t *testing.T) {
	const key = "logtotestSecretAbCdEfGhIjKlMnOpQ"
	secret := Secret{key, "hook-1"}
	log := &buffer{}
	slog.New(slog.NewJSONHandler(log, nil)).Info("it", "secret", secret, "pointer", &secret)
	data, err := json.Marshal(map[string]any{"secret": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", secret, &secret, secret, secret, secret, secret, []Secret{secret}), log.String(), string(data)} {
		if strings.Contains(text, key) || strings.Contains(text, fmt.Sprintf("%x", key)) || !strings.Contains(text, "hook-1") {
			t.Error("the key is printed, or the webhook's id is not")
		}
	}
}
