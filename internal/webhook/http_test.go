package webhook

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// patch sends a PATCH of somebody else's.
func patch(t *testing.T, tenant *logtotest.Tenant, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, tenant.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := tenant.ManagementClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("PATCH %s: %d", path, resp.StatusCode)
	}
}

func TestATenantsWebhooksArriveOverHTTP(t *testing.T) {
	c := newCircle(t, "id")
	ann := c.tenant.AddUser(logtotest.User{Username: "ann"})
	rename(t, c, ann, "Ann")
	patch(t, c.tenant, "/api/users/"+ann+"/custom-data", `{"customData":{"plan":"pro"}}`)
	var got []string
	c.settle(10, func(e busEntry) {
		event := e.event(t)
		got = append(got, fmt.Sprint(event.Event, " ", event.UserID == ann, " ", event.MatchedRoute))
	})
	if diff := cmp.Diff([]string{"User.Created true /users", "User.Data.Updated true /users/:userId"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestABurstOfAThousandDeliveriesLosesNone(t *testing.T) {
	const deliveries, atOnce = 1000, 50
	s := newSetup(t, keyed(documentedKey), "id")
	url := functionURL(t, s).URL
	transport := &http.Transport{MaxIdleConnsPerHost: atOnce}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	users := make(chan int)
	var senders sync.WaitGroup
	for range atOnce {
		senders.Go(func() {
			for i := range users {
				if status, err := post(t.Context(), client, url, body("User.Created", fmt.Sprintf(`,"data":{"id":"u%d"}`, i))); err != nil || status != 200 {
					t.Errorf("delivery %d: %d %v", i, status, err)
				}
			}
		})
	}
	for i := range deliveries {
		users <- i
	}
	close(users)
	senders.Wait()
	seen := map[string]int{}
	for _, e := range s.bridge.taken() {
		seen[e.event(t).UserID]++
	}
	if len(seen) != deliveries || len(s.bridge.taken()) != deliveries {
		t.Errorf("%d events of %d users, want %d", len(s.bridge.taken()), len(seen), deliveries)
	}
}

// post sends a delivery that is signed rightly.
func post(ctx context.Context, client *http.Client, url, body string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set(signatureHeader, logtotest.Signature(documentedKey, []byte(body)))
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
