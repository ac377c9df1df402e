package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// looked is what a doctor found.
type looked struct {
	Well bool `json:"well"`
}

func TestDoctorAnswersInThePlaceOfARun(t *testing.T) {
	runs := 0
	job := echo(func(context.Context, *jobs.Run[echoParams]) error { runs++; return nil })
	var log bytes.Buffer
	handler := jobs.Handler(job, jobs.Config{Log: &log, Doctor: func(context.Context) (any, error) { return looked{true}, nil }})
	for _, payload := range []string{`{"doctor": true}`, "\n {\n\"doctor\" : true } "} {
		if answer, err := handler.Invoke(t.Context(), []byte(payload)); err != nil || string(answer) != `{"well":true}` {
			t.Errorf("%s: %s, %v", payload, answer, err)
		}
	}
	if runs != 0 || strings.Contains(log.String(), "report") {
		t.Errorf("%d runs; log %s", runs, &log)
	}
	// All else is params, as ever, and strict.
	for _, payload := range []string{`{"doctor": false}`, `{"doctor": true, "date": "2026-11-23"}`, `{"doctor": "true"}`} {
		if report, err := invoke(t, t.Context(), handler, payload); err == nil || !strings.Contains(report.Error, `unknown field "doctor"`) {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestWithoutADoctorItsPayloadIsParams(t *testing.T) {
	handler := jobs.Handler(echo(well), jobs.Config{Log: io.Discard})
	if _, err := handler.Invoke(t.Context(), []byte(`{"doctor": true}`)); err == nil || !strings.Contains(err.Error(), `unknown field "doctor"`) {
		t.Error(err)
	}
}

func TestWhatKeepsADoctorFromLookingIsTheInvocationsError(t *testing.T) {
	for name, doctor := range map[string]func(context.Context) (any, error){
		"error": func(context.Context) (any, error) { return nil, errBroken },
		"panic": func(context.Context) (any, error) { panic(errBroken) },
	} {
		handler := jobs.Handler(echo(well), jobs.Config{Log: io.Discard, Doctor: doctor})
		_, err := handler.Invoke(t.Context(), []byte(`{"doctor": true}`))
		if err == nil || name == "error" && !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDoctorAnswersAtATerminal(t *testing.T) {
	out, err := atTerminal(t, `{"doctor": true}`).Output()
	var answer looked
	if wrong := json.Unmarshal(out, &answer); err != nil || wrong != nil || !answer.Well {
		t.Errorf("%v, %v: %s", err, wrong, out)
	}
}
