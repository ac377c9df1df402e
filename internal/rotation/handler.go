package rotation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-lambda-go/lambda"
)

// Event is what Secrets Manager sends for each step (Secrets Manager, rotation by Lambda function).
type Event struct {
	Step               string // createSecret, setSecret, testSecret or finishSecret
	SecretID           string `json:"SecretId"` // the secret's ARN
	ClientRequestToken string // the id of the version that is to become current
}

// Handler is the function's handler: Secrets Manager's events are steps of a rotation of the secret that they name, and
// everything else is for the daily job.
func Handler(of func(secretID string) *Rotation, daily lambda.Handler) lambda.Handler {
	return &handler{of, daily}
}

type handler struct {
	of    func(secretID string) *Rotation
	daily lambda.Handler
}

// Invoke implements lambda.Handler.
func (h *handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var e Event
	if !bytes.Contains(payload, []byte(`"ClientRequestToken"`)) || json.Unmarshal(payload, &e) != nil {
		return h.daily.Invoke(ctx, payload)
	}
	if e.SecretID == "" || e.ClientRequestToken == "" {
		return nil, errors.New("the event has no SecretId or no ClientRequestToken: Secrets Manager's events have both")
	}
	if err := h.of(e.SecretID).Step(ctx, e.Step, e.ClientRequestToken); err != nil {
		return nil, fmt.Errorf("%.20s: %w", e.Step, err)
	}
	return []byte("null"), nil
}

// Step does one of the four steps that Secrets Manager has a rotation made of. A version that is current already has
// nothing left to be done but its label, and one that is not pending is none that is being rotated.
func (r *Rotation) Step(ctx context.Context, step, version string) error {
	s, err := r.Place.State(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.Versions, func(v Version) bool { return v.ID == version })
	switch {
	case i < 0:
		return fmt.Errorf("%s has no version %.64q: rotate it by aws secretsmanager rotate-secret, or m2mjobs rotate", s.Name, version)
	case slices.Contains(s.Versions[i].Labels, Current) && step != "finishSecret":
		return nil
	case !slices.Contains(s.Versions[i].Labels, Current) && !slices.Contains(s.Versions[i].Labels, Pending):
		return fmt.Errorf("%s: version %s is not labelled %s, so it is not being rotated", s.Name, version, Pending)
	}
	switch step {
	case "createSecret":
		return r.Create(ctx, version)
	case "setSecret":
		return nil // Logto made the value, so it has it
	case "testSecret":
		return r.Test(ctx, version)
	case "finishSecret":
		return r.Finish(ctx, version)
	}
	return errors.New("no step of a rotation: createSecret, setSecret, testSecret and finishSecret are")
}
