package logto_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestUsersByFindsAHundredUsersWithTheirCustomDataInOneRequest(t *testing.T) {
	for _, key := range []logto.Key{logto.ByID, logto.ByEmail, logto.ByUsername, logto.ByPhone} {
		t.Run(string(key), func(t *testing.T) {
			tenant := logtotest.New(t)
			var values []string
			for i := range 120 {
				u := logtotest.User{ID: fmt.Sprintf("user%08d", i), Username: fmt.Sprintf("user_%d", i),
					PrimaryEmail: fmt.Sprintf("user%d@example.com", i), PrimaryPhone: fmt.Sprintf("1555%07d", i),
					CustomData: map[string]any{"n": i}}
				tenant.AddUser(u)
				values = append(values, map[logto.Key]string{logto.ByID: u.ID, logto.ByEmail: u.PrimaryEmail,
					logto.ByUsername: u.Username, logto.ByPhone: u.PrimaryPhone}[key])
			}
			found, err := newClient(t, tenant).UsersBy(t.Context(), key, values[:logto.MaxUsersBy])
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 100 {
				t.Errorf("found %d of 100", len(found))
			}
			for i, v := range values[:100] {
				want := map[string]any{"n": json.Number(fmt.Sprint(i))}
				if len(found[v]) != 1 || !cmp.Equal(found[v][0].CustomData, want) {
					t.Errorf("%s: found %v", v, found[v])
				}
			}
			if n := tenant.Requests(""); n != 1 {
				t.Errorf("%d requests, not 1", n)
			}
		})
	}
}

func TestUsersByGivesTheWholeUser(t *testing.T) {
	created := time.Date(2026, 11, 23, 21, 55, 15, 866e6, time.UTC)
	tenant := logtotest.NewWith(t, logtotest.Config{Now: func() time.Time { return created }})
	tenant.AddUser(logtotest.User{ID: "ann000000000", Username: "ann", PrimaryEmail: "ann@example.com", PrimaryPhone: "15550100", Name: "Ann"})
	found, err := newClient(t, tenant).UsersBy(t.Context(), logto.ByUsername, []string{"ann"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]logto.User{"ann": {{ID: "ann000000000", Username: "ann", PrimaryEmail: "ann@example.com",
		PrimaryPhone: "15550100", Name: "Ann", CustomData: map[string]any{}, CreatedAt: created, UpdatedAt: created}}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}

func TestUsersByHandlesCaseAsLogtoDoes(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.AddUser(logtotest.User{ID: "lower0000000", Username: "ann", PrimaryEmail: "ann@example.com"})
	tenant.AddUser(logtotest.User{ID: "upper0000000", Username: "ANN", PrimaryEmail: "Ann@Example.com"})
	client := newClient(t, tenant)
	tests := []struct {
		key    logto.Key
		values []string
		want   map[string][]string
	}{
		{logto.ByEmail, []string{"ANN@EXAMPLE.COM"}, map[string][]string{"ANN@EXAMPLE.COM": {"lower0000000", "upper0000000"}}},
		{logto.ByEmail, []string{"ann@example.com", "Ann@example.com"}, map[string][]string{
			"ann@example.com": {"lower0000000", "upper0000000"}, "Ann@example.com": {"lower0000000", "upper0000000"}}},
		{logto.ByUsername, []string{"ann"}, map[string][]string{"ann": {"lower0000000"}}},
		{logto.ByUsername, []string{"ANN", "ann", "Ann"}, map[string][]string{"ANN": {"upper0000000"}, "ann": {"lower0000000"}}},
		{logto.ByID, []string{"LOWER0000000"}, map[string][]string{}},
	}
	for _, tt := range tests {
		found, err := client.UsersBy(t.Context(), tt.key, tt.values)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for value, users := range found {
			for _, u := range users {
				got[value] = append(got[value], u.ID)
			}
			slices.Sort(got[value])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %v:\n%s", tt.key, tt.values, diff)
		}
	}
}

// More than a page of users may have one e-mail address in different letter case.
func TestUsersByReadsAllPages(t *testing.T) {
	tenant := logtotest.New(t)
	address := []byte("abcdefgh@example.com")
	for i := range 130 {
		for bit := range 8 {
			if i>>bit&1 == 1 {
				address[bit] -= 'a' - 'A'
			}
		}
		tenant.AddUser(logtotest.User{PrimaryEmail: string(address)})
		address = []byte(strings.ToLower(string(address)))
	}
	found, err := newClient(t, tenant).UsersBy(t.Context(), logto.ByEmail, []string{"abcdefgh@example.com", "nobody@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(found["abcdefgh@example.com"]); n != 130 {
		t.Errorf("found %d of 130", n)
	}
	if n := tenant.Requests("GET /api/users"); n != 2 {
		t.Errorf("%d requests, not 2", n)
	}
}

func TestUsersByLeavesOutWhatNobodyHas(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.AddUser(logtotest.User{Username: "ann"})
	client := newClient(t, tenant)
	found, err := client.UsersBy(t.Context(), logto.ByUsername, []string{"nobody", "", "ann", "ann", "a\x00b", "\xff"})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || len(found["ann"]) != 1 {
		t.Errorf("found %v", found)
	}
	if found, err = client.UsersBy(t.Context(), logto.ByEmail, []string{"", strings.Repeat("x", 20_000)}); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if n := tenant.Requests(""); n != 1 {
		t.Errorf("%d requests, not 1: nothing is asked for values that nobody can have", n)
	}
}

func TestUsersBySplitsOnlyWhatWouldBeTooLong(t *testing.T) {
	tenant := logtotest.New(t)
	var values []string
	for i := range 100 {
		v := fmt.Sprintf("%03d%s", i, strings.Repeat("é", 60)) // 360 bytes when escaped
		tenant.AddUser(logtotest.User{Username: v})
		values = append(values, v)
	}
	sent := &recorder{base: tenant.ManagementClient().Transport}
	found, err := newClientWith(t, tenant.URL, &http.Client{Transport: sent}).UsersBy(t.Context(), logto.ByUsername, values)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 100 {
		t.Errorf("found %d of 100", len(found))
	}
	if len(sent.sent) != 4 {
		t.Errorf("%d requests, not 4", len(sent.sent))
	}
	for _, r := range sent.sent {
		if n := len(r.URL.RequestURI()); n > 12_100 {
			t.Errorf("a request target of %d bytes", n)
		}
	}
}

func TestUsersByRefusesWhatItCannotAsk(t *testing.T) {
	client := newClient(t, logtotest.New(t))
	if _, err := client.UsersBy(t.Context(), "name", []string{"Ann"}); err == nil {
		t.Error("a key that is none was taken")
	}
	if _, err := client.UsersBy(t.Context(), logto.ByID, make([]string, 101)); err == nil {
		t.Error("101 values were taken")
	}
}

func TestUserGetsOne(t *testing.T) {
	tenant := logtotest.New(t)
	id := tenant.AddUser(logtotest.User{Name: "Ann", CustomData: map[string]any{"plan": "free"}})
	client := newClient(t, tenant)
	u, err := client.User(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if u.Name != "Ann" || u.CustomData["plan"] != "free" {
		t.Errorf("got %+v", u)
	}
	if _, err := client.User(t.Context(), "nobody"); !errors.Is(err, logto.ErrNotFound) {
		t.Errorf("an unknown user: %v", err)
	}
	// These would be other paths.
	for _, id := range []string{"", ".", ".."} {
		if _, err := client.User(t.Context(), id); err == nil || errors.Is(err, logto.ErrNotFound) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if _, err := client.User(t.Context(), "a/../b?c#d"); !errors.Is(err, logto.ErrNotFound) {
		t.Errorf("an id with a path in it: %v", err)
	}
}

func TestUsersIteratesNewestFirst(t *testing.T) {
	tenant := logtotest.New(t)
	var want []string
	for range 250 {
		want = append(want, tenant.AddUser(logtotest.User{}))
	}
	slices.Reverse(want)
	var got []string
	for u, err := range newClient(t, tenant).Users(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, u.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := tenant.Requests(""); n != 3 {
		t.Errorf("%d requests, not 3", n)
	}
}

// Users created during the scan push those seen already to the next page.
func TestUsersSeesEveryUserOnceWhileUsersAreCreated(t *testing.T) {
	tenant := logtotest.New(t)
	missing := map[string]bool{}
	for range 450 {
		missing[tenant.AddUser(logtotest.User{})] = true
	}
	created := map[string]bool{}
	n := 0
	for u, err := range newClient(t, tenant).Users(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%50 == 0 && n <= 300 {
			for range 60 {
				created[tenant.AddUser(logtotest.User{})] = true
			}
		}
		if !missing[u.ID] && !created[u.ID] {
			t.Fatalf("user %s came twice", u.ID)
		}
		delete(missing, u.ID)
		delete(created, u.ID)
	}
	if len(missing) > 0 {
		t.Errorf("%d users that were there all the time were missed", len(missing))
	}
}

func TestUsersEndsWhenTheCallerHasEnoughAndWithAnError(t *testing.T) {
	tenant := logtotest.New(t)
	for range 150 {
		tenant.AddUser(logtotest.User{})
	}
	client := newClient(t, tenant)
	for range client.Users(t.Context()) {
		break
	}
	if n := tenant.Requests(""); n != 1 {
		t.Errorf("%d requests, not 1", n)
	}
	tenant.Inject(logtotest.Fault{After: 1, Status: http.StatusBadGateway})
	users, errs := 0, 0
	for _, err := range client.Users(t.Context()) {
		if err == nil {
			users++
			continue
		}
		errs++
		if !errors.Is(err, logto.ErrUnavailable) {
			t.Error(err)
		}
	}
	if users != 100 || errs != 1 {
		t.Errorf("%d users and %d errors, not 100 and 1", users, errs)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.Inject(logtotest.Fault{Latency: time.Hour, Times: -1})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := newClient(t, tenant).User(ctx, "ann")
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
