package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/m2mjobs/m2mjobs/internal/webhook"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// A job that a rule starts takes the event as its parameters.
func ExampleEvent() {
	job := jobs.Job[webhook.Event]{
		Name: "welcome",
		Run: func(_ context.Context, run *jobs.Run[webhook.Event]) error {
			fmt.Println("welcome,", run.Params.UserID)
			return nil
		},
	}
	fromTheRule := `{
		"id": "11710aed-b79e-4468-a20b-bb3c0c3b4860", "source": "logto", "detail-type": "User.Created", "time": "2026-11-23T21:55:15Z",
		"detail": {"event": "User.Created", "createdAt": "2026-11-23T21:55:15.873Z", "hookId": "afj1o9t9avj9z1wgilmaj", "userId": "551vi8z8tdm8",
			"matchedRoute": "/users", "delivery": "1f0c…", "data": {"id": "551vi8z8tdm8"}}
	}`
	if _, err := jobs.Handler(job, jobs.Config{Log: io.Discard}).Invoke(context.Background(), []byte(fromTheRule)); err != nil {
		fmt.Println(err)
	}
	// Output: welcome, 551vi8z8tdm8
}

// The body of a delivery, and as Logto's log gives it back: the same delivery.
func ExampleDigest() {
	sent, err := webhook.Digest([]byte(`{"event":"User.Created","hookId":"afj1o9t9avj9z1wgilmaj"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	logged, err := webhook.Digest([]byte(`{"hookId": "afj1o9t9avj9z1wgilmaj", "event": "User.Created"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sent == logged)
	// Output: true
}

// The key does not get into logs.
func ExampleSecret() {
	secret := webhook.Secret{SigningKey: "logtotestSecretAbCdEfGhIjKlMnOpQ", HookID: "afj1o9t9avj9z1wgilmaj"}
	data, err := json.Marshal(secret)
	fmt.Printf("%v\n%s %v\n", secret, data, err)
	// Output:
	// webhook "afj1o9t9avj9z1wgilmaj"
	// {"hookId":"afj1o9t9avj9z1wgilmaj"} <nil>
}
