package customdata_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// answer is what a real Logto was recorded to answer to a change of one user's custom data.
func answer(t *testing.T, name string) (sent object, status int, stored object) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "pkg", "logto", "logtotest", "testdata", "answers", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Request  struct{ Body json.RawMessage }
		Response struct {
			Status int
			Body   json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	body := recorded.Request.Body
	if len(body) > 0 && body[0] == '"' { // kept as it was sent
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			t.Fatal(err)
		}
		body = []byte(text)
	}
	decode := func(raw []byte) object {
		members, err := logto.ParseCustomData(raw)
		if err != nil {
			t.Fatal(err)
		}
		return members
	}
	sent, _ = decode(body)["customData"].(object)
	stored = decode(recorded.Response.Body)
	if whole, ok := stored["customData"].(object); ok { // of the whole user
		stored = whole
	}
	return sent, recorded.Response.Status, stored
}

// The changes of the record in their order: what the plan says, what apply does, and what a real Logto had then are the same.
func TestPlanAgreesWithTheRecordedAnswers(t *testing.T) {
	s := newStage(t)
	s.tenant.AddUser(logtotest.User{ID: "ann", CustomData: object{"seed": true}})
	for _, step := range []struct {
		name   string
		remove []string // what the record did by replacing all
	}{
		{"custom-data-patch-1", nil},
		{"custom-data-patch-2-nested", nil},
		{"custom-data-patch-3-null", nil},
		{"user-patch-custom-data-replaces", []string{"plan", "seed", "address"}},
		{"custom-data-patch-empty", nil},
		{"custom-data-patch-unicode", nil},
	} {
		sent, status, want := answer(t, step.name)
		if status != 200 || want == nil {
			t.Fatalf("%s is not a change that was taken", step.name)
		}
		row, err := json.Marshal(object{"id": "ann", "customData": sent, "remove": step.remove})
		if err != nil {
			t.Fatal(err)
		}
		before := s.tenant.CustomData("ann")
		params := rows(strings.Replace(string(row), `,"remove":null`, "", 1))
		_, plan := s.plan(params)
		said := maps.Clone(before)
		for _, line := range s.lines(plan) {
			members, err := logto.ParseCustomData([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			data, _ := members["customData"].(object)
			maps.Copy(said, data)
			gone, _ := members["remove"].([]any)
			for _, key := range gone {
				delete(said, key.(string))
			}
		}
		if !logto.EqualData(said, want) {
			t.Errorf("%s: the plan comes to %v, Logto had %v", step.name, said, want)
		}
		s.sync(object{"action": "apply", "plan": plan.Location})
		if got := s.tenant.CustomData("ann"); !logto.EqualData(got, want) {
			t.Errorf("%s: applied, the user has %v, Logto had %v", step.name, got, want)
		}
		if unchanged := logto.EqualData(before, want); unchanged != (plan.ToChange == 0) {
			t.Errorf("%s: the plan changes %d users; unchanged in the record: %v", step.name, plan.ToChange, unchanged)
		}
	}
	// What Logto was recorded to corrupt is not planned.
	sent, _, stored := answer(t, "custom-data-patch-bignum")
	if logto.EqualData(sent["big"], stored["big"]) {
		t.Error("the record kept a number that it should have corrupted")
	}
	row, err := json.Marshal(object{"id": "ann", "customData": sent})
	if err != nil {
		t.Fatal(err)
	}
	if _, plan := s.plan(rows(string(row))); plan.Rejected != 1 || plan.ToChange != 0 {
		t.Errorf("plan %+v", plan)
	}
}
