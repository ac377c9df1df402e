package rotation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// invokeHandler invokes the function's handler for the world's file, which stands for a secret of that name, and for a second one
// that is not there.
func (w *world) invokeHandler(log *bytes.Buffer, payload string) (string, error) {
	of := func(id string) *rotation.Rotation {
		if id != "file" {
			return rotation.New(rotation.Config{Place: rotation.File(w.path + ".none")})
		}
		return w.rotation(nil)
	}
	daily := jobs.Handler(rotation.Job(of, []string{"missing", "file"}), jobs.Config{Log: log})
	answer, err := rotation.Handler(of, daily).Invoke(w.Context(), []byte(payload))
	return string(answer), err
}

func step(name, version string) string {
	return fmt.Sprintf(`{"Step":%q,"SecretId":"file","ClientRequestToken":%q,"RotationToken":"t"}`, name, version)
}

func TestStepsOfAVersionThatIsNotBeingRotatedAreRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := w.rotation(nil).Create(w.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		for payload, want := range map[string]string{
			step("createSecret", "unknown"):                                    `no version "unknown"`,
			step("burnSecret", "one"):                                          "no step of a rotation",
			`{"Step":"createSecret","SecretId":"","ClientRequestToken":"one"}`: "no SecretId",
		} {
			if _, err := w.invokeHandler(&bytes.Buffer{}, payload); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", payload, err, want)
			}
		}
		before := w.file()["appSecret"]
		for _, name := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
			for range 2 {
				if answer, err := w.invokeHandler(&bytes.Buffer{}, step(name, "one")); err != nil || answer != "null" {
					t.Errorf("%s: %q, %v", name, answer, err)
				}
			}
		}
		if w.file()["appSecret"] == before || w.file()["version"] != "one" {
			t.Error("the secret was not rotated")
		}
		requests := w.tenant.Requests("")
		for _, name := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
			if _, err := w.invokeHandler(&bytes.Buffer{}, step(name, "one")); err != nil {
				t.Errorf("%s of what is current: %v", name, err)
			}
		}
		if n := w.tenant.Requests("") - requests; n != 0 {
			t.Errorf("%d requests for what is done", n)
		}
	})
}

func TestTheDailyJobTellsTheAgeAndGoesOnAfterAFailure(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rotate()
		w.rotate()
		time.Sleep(49 * time.Hour)
		log := &bytes.Buffer{}
		_, err := w.invokeHandler(log, `{}`)
		if err == nil || !strings.Contains(err.Error(), "secret missing: ") {
			t.Errorf("%v, want the secret that could not be looked at", err)
		}
		var metrics struct {
			OldestDays, Deleted, Kept *int64
			Failed                    int64
		}
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, `"_aws"`) {
				if err := json.Unmarshal([]byte(line), &metrics); err != nil {
					t.Fatal(err)
				}
			}
		}
		if metrics.OldestDays == nil || *metrics.OldestDays != 2 || *metrics.Deleted != 1 || *metrics.Kept != 0 || metrics.Failed != 1 {
			t.Errorf("metrics in\n%s", log)
		}
		if strings.Contains(log.String(), "logtotestSecret") {
			t.Error("a secret is in the log")
		}
	})
}
