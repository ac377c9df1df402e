package simulate_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// scenario is what is simulated.
type scenario struct {
	users   int
	percent int           // of the users, whose custom data the rows change
	cloud   bool          // the tenant has Logto Cloud's limit; otherwise it is a server of one's own
	timeout time.Duration // of an invocation
}

func (c scenario) tenant() string {
	if c.cloud {
		return "Logto Cloud"
	}
	return "own server"
}

// budget is the one that a function has for such a tenant by default.
func (c scenario) budget() string {
	if c.cloud {
		return "50%"
	}
	return "none"
}

// changes is how many users the rows change.
func (c scenario) changes() int { return c.users * c.percent / 100 }

func id(i int) string    { return fmt.Sprintf("u%011d", i) }
func email(i int) string { return fmt.Sprintf("user%d@example.com", i) }

// before is the custom data of a user at first, and after what the user's row says.
func (c scenario) before(i int) map[string]any {
	data := c.after(i)
	if i%100 < c.percent {
		data["plan"] = "free"
	}
	return data
}

func (c scenario) after(i int) map[string]any {
	return map[string]any{"plan": "pro", "seats": json.Number(strconv.Itoa(i % 50))}
}

// writeRows makes the file of rows, one a user.
func (c scenario) writeRows(t *testing.T, name string) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	buffer := bufio.NewWriter(file)
	rows := json.NewEncoder(buffer)
	for i := range c.users {
		if err := rows.Encode(map[string]any{"primaryEmail": email(i), "customData": c.after(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := buffer.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

const (
	// faultEvery is how many reads, or writes, there are for one that goes wrong. In the sizes that are compared each kind of fault
	// has the same share of them.
	faultEvery = 66
	// throttleEvery is how many of these there are for one 429.
	throttleEvery = 300
)

// faults are those of a run, in the order of the requests that they hit.
func (c scenario) faults() (all []logtotest.Fault) {
	kinds := []logtotest.Fault{{Status: http.StatusServiceUnavailable}, {Reset: true}, {ResetAfter: true}}
	for route, requests := range map[string]int{search: c.users / 100, merge: c.changes()} {
		hit := 0
		for n := faultEvery / 2; n < requests; n += faultEvery {
			f := kinds[hit%len(kinds)]
			if hit%throttleEvery == throttleEvery/2 {
				f = logtotest.Fault{Status: http.StatusTooManyRequests}
			}
			f.Route, f.After = route, n-hit // those that were hit don't count
			all = append(all, f)
			hit++
		}
	}
	return all
}
