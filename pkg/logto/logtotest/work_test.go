package logtotest_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// The figures are those of the record.
func TestRecordedWorkIsAsFastAsTheRecordedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := logtotest.NewWith(t, logtotest.Config{Listener: logtotest.NewPipeListener(), Work: logtotest.RecordedWork})
		id := tenant.AddUser(logtotest.User{})
		for _, tt := range []struct {
			atOnce   int
			min, max float64
		}{{1, 186, 190}, {8, 335, 338}, {32, 335, 338}} {
			const each = 40
			began := time.Now()
			var clients sync.WaitGroup
			for range tt.atOnce {
				clients.Go(func() {
					for range each {
						if status, err := try(t, tenant, id, `{}`); status != 200 {
							t.Error(status, err)
						}
					}
				})
			}
			clients.Wait()
			if rate := float64(tt.atOnce*each) / time.Since(began).Seconds(); rate < tt.min || rate > tt.max {
				t.Errorf("%d at once: %.1f a second, not %v to %v", tt.atOnce, rate, tt.min, tt.max)
			}
		}
		hundred := url.Values{"mode.primaryEmail": {"exact"}}
		for range 100 {
			hundred.Add("search.primaryEmail", "research.dept@example.com")
		}
		for path, want := range map[string]time.Duration{
			"/api/users?" + hundred.Encode():                13 * time.Millisecond,
			"/api/users?search.id=" + id + "&mode.id=exact": 5300 * time.Microsecond,
			"/oidc/jwks":                                       0,
			"/api/users/" + id + "/custom-data":                5300 * time.Microsecond,
			"/api/users?" + strings.Repeat("search.id=a&", 50): (5300 + 7700*49/99) * time.Microsecond,
		} {
			began := time.Now()
			send(t, tenant.ManagementClient(), http.MethodGet, tenant.URL+path, "")
			if took := time.Since(began); (took - want).Abs() > time.Microsecond {
				t.Errorf("%.60s took %v, not %v", path, took, want)
			}
		}
		app := tenant.AddApp("sync")
		began := time.Now()
		askToken(t, tenant, app, management())
		if took := time.Since(began); (took - 12*time.Millisecond).Abs() > time.Microsecond {
			t.Errorf("a token took %v", took)
		}
	})
}

func TestARefusedRequestIsNoWorkAndAFaultComesAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := logtotest.NewWith(t, logtotest.Config{
			Listener:   logtotest.NewPipeListener(),
			CloudLimit: true,
			CloudSpeed: 10, // 200 a second
			Work:       func(*http.Request) logtotest.Work { return logtotest.Work{Wait: time.Minute} },
		})
		id := tenant.AddUser(logtotest.User{})
		tenant.Inject(logtotest.Fault{Latency: time.Second, Status: 503})
		for i, want := range []struct {
			status int
			took   time.Duration
		}{{503, time.Minute + time.Second}, {200, time.Minute}} {
			began := time.Now()
			status, err := try(t, tenant, id, `{}`)
			if took := time.Since(began); status != want.status || took != want.took {
				t.Errorf("%d: %d after %v (%v), not %+v", i, status, took, err, want)
			}
		}
		// 250 at once: the bucket has 200.
		statuses := make(chan int, 250)
		began := time.Now()
		var clients sync.WaitGroup
		for range cap(statuses) {
			clients.Go(func() {
				status, _ := try(t, tenant, id, `{}`)
				if status == 429 && time.Since(began) != 0 {
					t.Errorf("refused after %v", time.Since(began))
				}
				statuses <- status
			})
		}
		clients.Wait()
		passed := 0
		for range cap(statuses) {
			if <-statuses == 200 {
				passed++
			}
		}
		if passed != 200 {
			t.Errorf("%d of 250 passed, not 200", passed)
		}
	})
}

func TestCloudSpeedRefillsTheLimitFaster(t *testing.T) {
	now := time.Now()
	tenant := logtotest.NewWith(t, logtotest.Config{CloudLimit: true, CloudSpeed: 10, Now: func() time.Time { return now }})
	for _, want := range []int{200, 20} { // then a tenth of a second passes
		passed := 0
		for range 205 {
			if status, _, _ := send(t, tenant.Client(), http.MethodGet, tenant.URL+"/oidc/jwks", ""); status == 200 {
				passed++
			}
		}
		if passed != want {
			t.Errorf("%d passed, not %d", passed, want)
		}
		now = now.Add(100 * time.Millisecond)
	}
}
