package function

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestTokensAndCallsAreBothWithinTheBudget(t *testing.T) {
	a, err := newAccess(secret{File: "app.json"}, &lazyAWS{}, m2m.Config{Resource: "https://default.logto.app/api"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.transport.Base.(*cloudBudget); !ok {
		t.Errorf("calls go through a %T", a.transport.Base)
	}
	if _, ok := a.tokens.Transport.(*cloudBudget); !ok {
		t.Errorf("token requests go through a %T", a.tokens.Transport)
	}
}

func TestOnlyLogtoCloudIsAskedWithinABudget(t *testing.T) {
	tests := map[string]struct {
		host string
		want time.Duration // for 100 requests: the first 20 without a pause, then 10 a second
	}{
		"Logto Cloud":     {"tenant.logto.app", 8 * time.Second},
		"its upper case":  {"Tenant.LOGTO.app", 8 * time.Second},
		"a server of own": {"logto.example.com", 0},
		"a name like it":  {"notlogto.app", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := logtotest.NewPipeListener()
				server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
				go server.Serve(listener)
				base := &http.Transport{DialContext: listener.DialContext}
				client := &http.Client{Transport: withinBudget(base)}
				began := time.Now()
				for range 100 {
					resp, err := client.Get("http://" + test.host)
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
				}
				if took := time.Since(began).Round(time.Second); took != test.want {
					t.Errorf("100 requests took %v, want %v", took, test.want)
				}
				base.CloseIdleConnections()
				server.Close()
			})
		})
	}
}
