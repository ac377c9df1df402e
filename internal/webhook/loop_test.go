package webhook

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// circle is a tenant whose updates come by a webhook to the bus, and a rule there that starts a job by each of them.
type circle struct {
	*setup
	tenant *logtotest.Tenant
	client *logto.Client

	mu    sync.Mutex
	queue []busEntry // what the rule has taken and the job has not
}

func newCircle(t *testing.T, fields ...string) *circle {
	c := &circle{tenant: logtotest.New(t)}
	var hook logtotest.Hook
	c.setup = newSetup(t, func(context.Context) (Secret, error) { return Secret{hook.SigningKey, hook.ID}, nil }, fields...)
	c.bridge.onPut = func(e busEntry) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.queue = append(c.queue, e)
	}
	hook = c.tenant.AddHook(functionURL(t, c.setup).URL, logtotest.UserCreated, logtotest.UserDataUpdated)
	var err error
	c.client, err = logto.NewClient(logto.Config{Endpoint: c.tenant.URL, HTTPClient: c.tenant.ManagementClient()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// settle starts the job by each event that the rule takes, until there is none, or too many. It returns how many.
func (c *circle) settle(tooMany int, job func(busEntry)) int {
	for ran := 0; ; {
		c.tenant.FlushHooks()
		c.mu.Lock()
		events := c.queue
		c.queue = nil
		c.mu.Unlock()
		if len(events) == 0 {
			return ran
		}
		for _, e := range events {
			if ran++; ran == tooMany {
				return ran
			}
			job(e)
		}
	}
}

func TestAJobThatWritesOnEveryUpdateIsNotStartedByItsOwnWrites(t *testing.T) {
	const forEver = 200
	tests := map[string]struct {
		guard bool
		runs  int
	}{
		"with the guard":    {true, 1},
		"without the guard": {false, forEver},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCircle(t, "id")
			if !test.guard {
				c.isEcho = func(*delivery) bool { return false }
			}
			ann := c.tenant.AddUser(logtotest.User{PrimaryEmail: "ann@example.com"})
			c.settle(forEver, func(busEntry) {}) // User.Created
			seen := 0
			job := func(e busEntry) {
				seen++
				if _, err := c.client.MergeCustomData(t.Context(), e.event(t).UserID, map[string]any{"seen": seen}); err != nil {
					t.Fatal(err)
				}
			}
			rename(t, c, ann, "Ann")
			if runs := c.settle(forEver, job); runs != test.runs {
				t.Errorf("%d runs, want %d", runs, test.runs)
			}
		})
	}
}

// rename is what somebody else does.
func rename(t *testing.T, c *circle, user, name string) {
	t.Helper()
	patch(t, c.tenant, "/api/users/"+user, fmt.Sprintf(`{"name":%q}`, name))
}

func TestASyncThatRemovesKeysIsNotStartedByItsOwnWrites(t *testing.T) {
	c := newCircle(t, "id")
	ann := c.tenant.AddUser(logtotest.User{PrimaryEmail: "ann@example.com", CustomData: map[string]any{"old": true}})
	c.settle(100, func(busEntry) {})
	handler := jobs.Handler(customdata.Job(customdata.Config{
		Client: func(context.Context) (*logto.Client, error) { return c.client, nil },
		Files:  files.New(nil),
	}), jobs.Config{Log: io.Discard})
	seen := 0
	rename(t, c, ann, "Ann")
	runs := c.settle(100, func(e busEntry) {
		seen++
		payload := fmt.Sprintf(`{"rows":[{"id":%q,"customData":{"seen":%d},"remove":["old"]}]}`, e.event(t).UserID, seen)
		if _, err := handler.Invoke(t.Context(), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	})
	// The rename's. The write that replaced the custom data, by the route of all other updates, is known by its User-Agent.
	if runs != 1 {
		t.Errorf("%d runs, want 1", runs)
	}
}

func TestWhichUpdatesAreEchoes(t *testing.T) {
	tests := map[string]struct {
		event, more string
		want        bool
	}{
		"custom data":                {"User.Data.Updated", `,"matchedRoute":"/users/:userId/custom-data"`, true},
		"our own User-Agent":         {"User.Data.Updated", `,"matchedRoute":"/users/:userId","userAgent":"m2mjobs/1.0"`, true},
		"somebody else's User-Agent": {"User.Data.Updated", `,"matchedRoute":"/users/:userId","userAgent":"curl/8"`, false},
		"the end user's own change":  {"User.Data.Updated", `,"interactionEvent":"SignIn"`, false},
		"a user whom we create":      {"User.Created", `,"matchedRoute":"/users","userAgent":"m2mjobs/1.0"`, false},
	}
	for name, test := range tests {
		d, err := parse([]byte(body(test.event, test.more)))
		if err != nil {
			t.Fatal(err)
		}
		if d.isEcho() != test.want {
			t.Errorf("%s: %v", name, !test.want)
		}
	}
}
