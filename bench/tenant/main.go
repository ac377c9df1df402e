// Command tenant is the Logto tenant that syncs are measured against, in memory and in a process of its own. It prints an app's
// credentials as JSON, the content of a secret file, and then answers each line of its standard input with a line:
//
//	drain   uses up what the rate limit would let pass at once, and begins to count: ok
//	counts  the requests since then, and how many users a row has changed, as JSON
//
// It ends with its standard input.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/m2mjobs/m2mjobs/bench/fixture"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func main() {
	users := flag.Int("users", 0, "how many users it has")
	speed := flag.Float64("cloud-speed", 0, "Logto Cloud's limit, so many times faster; 0: no limit")
	work := flag.Bool("work", false, "take as long for a request as the recorded server")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*users, *speed, *work); err != nil {
		log.Fatal("tenant: ", err)
	}
}

func run(users int, speed float64, work bool) error {
	config := logtotest.Config{CloudLimit: speed > 0, CloudSpeed: speed}
	if work {
		config.Work = logtotest.RecordedWork
		go exactTimers()
	}
	tenant, err := logtotest.Start(config)
	if err != nil {
		return err
	}
	defer tenant.Close()
	for i := range users {
		tenant.AddUser(fixture.User(i))
	}
	app := tenant.AddApp("bench")
	tenant.Grant(app.ID, logtotest.ManagementResource, logto.ManagementScope)
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(map[string]string{"endpoint": tenant.URL, "appId": app.ID, "appSecret": app.Secret}); err != nil {
		return err
	}
	before := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var answer any = "ok"
		switch lines.Text() {
		case "drain":
			if err := drain(tenant, speed > 0); err != nil {
				return err
			}
			before = tenant.Requests("")
		case "counts":
			counts := fixture.Counts{Requests: tenant.Requests("") - before}
			for i := range users {
				if fixture.Changed(i, tenant.CustomData(fixture.User(i).ID)) {
					counts.Changed++
				}
			}
			answer = counts
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

// drain sends requests until one is refused.
func drain(tenant *logtotest.Tenant, limited bool) error {
	for limited {
		resp, err := tenant.Client().Get(tenant.URL + "/nothing")
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		limited = resp.StatusCode != http.StatusTooManyRequests
	}
	return nil
}

// exactTimers keeps the process from oversleeping. While nothing runs, Go waits for its next timer with epoll, in whole
// milliseconds: a PATCH of 5.3 ms would take 6.2.
func exactTimers() {
	for pause := syscall.NsecToTimespec(int64(200 * time.Microsecond)); ; {
		// A signal ends it early, which does no harm.
		_ = syscall.Nanosleep(&pause, nil)
		runtime.Gosched()
	}
}
