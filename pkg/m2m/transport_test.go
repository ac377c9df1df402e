package m2m_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// api is a server in the bubble beside the tenant that notes what it gets.
type api struct {
	url    string
	bearer []string // the Authorization header of each request
	bodies []string
}

// serve starts an API in the bubble; handle gets the number of the request, from 1.
func (w *world) serve(handle func(n int, rw http.ResponseWriter, r *http.Request)) (*api, *http.Transport) {
	listener := logtotest.NewPipeListener()
	a := &api{url: "http://127.0.0.1:4000"}
	var noting sync.Mutex // a request that was given up is still being served
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		noting.Lock()
		a.bearer = append(a.bearer, r.Header.Get("Authorization"))
		a.bodies = append(a.bodies, string(body))
		n := len(a.bearer)
		noting.Unlock()
		handle(n, rw, r)
	})}
	go server.Serve(listener)
	base := &http.Transport{DialContext: listener.DialContext}
	w.t.Cleanup(func() {
		base.CloseIdleConnections()
		server.Close()
	})
	return a, base
}

func (w *world) request(method, url, body string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return req
}

func (w *world) status(client *http.Client, req *http.Request) int {
	w.t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode
}

func TestTheTokenGoesToItsOriginOnly(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	var here []string
	origin := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		here = append(here, strings.Fields(r.Header.Get("Authorization") + " none")[0])
		if r.URL.Path == "/away" {
			http.Redirect(rw, r, other.URL, http.StatusTemporaryRedirect)
		}
	}))
	defer origin.Close()
	tenant := logtotest.New(t)
	app := tenant.AddApp("orders")
	tenant.AddResource(shopping)
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    shopping,
	})
	if err != nil {
		t.Fatal(err)
	}
	base := m2m.NewBase()
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: &m2m.Transport{Source: source, Origin: origin.URL, Base: base}}
	for _, url := range []string{origin.URL, origin.URL + "/away", other.URL, strings.Replace(origin.URL, "127.0.0.1", "localhost", 1)} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if want := []string{"Bearer", "Bearer", "none"}; !cmp.Equal(here, want) {
		t.Errorf("the origin got %v, want %v", here, want)
	}
	if want := []string{"", ""}; !cmp.Equal(elsewhere, want) {
		t.Errorf("another origin got %d Authorization headers that are not empty", len(elsewhere))
	}
}

func TestAnAuthorizationThatIsSetIsLeft(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		a, base := w.serve(func(int, http.ResponseWriter, *http.Request) {})
		broken := w.config()
		broken.Credentials = &provider{err: errors.New("no secret today")}
		for _, transport := range []*m2m.Transport{
			{Source: w.source(w.config()), Origin: a.url, Base: base},
			{Source: w.source(broken), Base: base}, // needs no credentials, not even to know its origin
		} {
			req := w.request("GET", a.url, "")
			req.Header.Set("Authorization", "Basic own")
			w.status(&http.Client{Transport: transport}, req)
		}
		if !cmp.Equal(a.bearer, []string{"Basic own", "Basic own"}) {
			t.Error("the request's own Authorization was replaced")
		}
		w.wantRequests(tokenRoute, 0)
	})
}

func TestA401DropsThatTokenAndRepeatsOnce(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		a, base := w.serve(func(n int, rw http.ResponseWriter, _ *http.Request) {
			if n == 2 {
				rw.WriteHeader(http.StatusUnauthorized)
			}
		})
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}}
		w.status(client, w.request("GET", a.url, ""))
		time.Sleep(10 * time.Minute) // the signing key was revoked meanwhile, say
		if status := w.status(client, w.request("POST", a.url, "an order")); status != http.StatusOK {
			t.Errorf("status %d after the repetition", status)
		}
		if want := []string{"", "an order", "an order"}; !cmp.Equal(a.bodies, want) {
			t.Errorf("bodies %q, want %q", a.bodies, want)
		}
		if a.bearer[0] != a.bearer[1] || a.bearer[1] == a.bearer[2] {
			t.Error("the repetition did not carry another token, and the others the same")
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestA401OnATokenJustMintedIsFinal(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		a, base := w.serve(func(_ int, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}}
		for range 20 {
			_, err := client.Do(w.request("GET", a.url, ""))
			rejected := (*m2m.RejectedError)(nil)
			if !errors.As(err, &rejected) {
				t.Fatalf("got %v, want a *RejectedError", err)
			}
			if rejected.AppID != w.app.ID || rejected.Resource != shopping || rejected.Origin != a.url {
				t.Errorf("the error names %+v", rejected)
			}
		}
		w.wantRequests(tokenRoute, 1)
		if len(a.bearer) != 20 {
			t.Errorf("%d requests for 20", len(a.bearer))
		}

		time.Sleep(10 * time.Minute) // an old token is worth one more try, the new one is not
		if _, err := client.Do(w.request("GET", a.url, "")); !errors.As(err, new(*m2m.RejectedError)) {
			t.Fatalf("got %v, want a *RejectedError", err)
		}
		w.wantRequests(tokenRoute, 2)
	})
}

func TestABodyThatCannotBeHadAgainIsNotRepeated(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		a, base := w.serve(func(n int, rw http.ResponseWriter, _ *http.Request) {
			if n > 1 {
				rw.WriteHeader(http.StatusUnauthorized)
			}
		})
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}}
		w.status(client, w.request("GET", a.url, ""))
		time.Sleep(10 * time.Minute)
		req := w.request("POST", a.url, "a stream")
		req.GetBody = nil
		if status := w.status(client, req); status != http.StatusUnauthorized || len(a.bearer) != 2 {
			t.Errorf("status %d after %d requests, want 401 after 2", status, len(a.bearer))
		}
	})
}

// dying breaks the connection of the first n requests, as one that died in a freeze does.
func dying(n int) func(int, http.ResponseWriter, *http.Request) {
	return func(got int, rw http.ResponseWriter, _ *http.Request) {
		if got <= n {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestAConnectionThatDiedCostsARetryOnlyWhereARequestMayBeRepeated(t *testing.T) {
	tests := map[string]struct {
		method string
		mark   bool
		want   int // requests; one more than those that died if repeated
	}{
		"GET":                      {"GET", false, 3},
		"PATCH marked repeatable":  {"PATCH", true, 3},
		"PATCH of unknown meaning": {"PATCH", false, 1},
		"POST":                     {"POST", false, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				a, base := w.serve(dying(2))
				transport := &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}
				client := &http.Client{Transport: transport}
				body := ""
				if test.method != "GET" {
					body = "{}"
				}
				req := w.request(test.method, a.url, body)
				if test.mark {
					req.Header["Idempotency-Key"] = nil
				}
				resp, err := client.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				if repeated := test.want > 1; repeated != (err == nil) || len(a.bearer) != test.want {
					t.Errorf("error %v after %d requests, want %d", err, len(a.bearer), test.want)
				}
				if got := transport.Stats(); got.Requests != int64(test.want) || got.Retries != int64(test.want-1) {
					t.Errorf("stats %+v", got)
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		a, base := w.serve(func(n int, rw http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				rw.Header().Set("Retry-After", "7")
				rw.WriteHeader(http.StatusTooManyRequests)
			}
		})
		transport := &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}
		began := time.Now()
		if status := w.status(&http.Client{Transport: transport}, w.request("POST", a.url, "x")); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		if waited := time.Since(began); waited != 7*time.Second {
			t.Errorf("waited %v, want 7s", waited)
		}
		want := m2m.TransportStats{Requests: 2, Retries: 1, Throttled: 1, Waited: 7 * time.Second}
		if got := transport.Stats(); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
	})
}

func TestNoRetryIsBegunThatTheDeadlineWouldCut(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		a, base := w.serve(func(_ int, rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Retry-After", "60")
			rw.WriteHeader(http.StatusServiceUnavailable)
		})
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}}
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		if status := w.status(client, w.request("GET", a.url, "").WithContext(ctx)); status != http.StatusServiceUnavailable {
			t.Errorf("status %d, want the answer at hand", status)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v for nothing", waited)
		}
	})
}

func TestAFailingTokenFailsTheRequestAndClosesItsBody(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		config.Scopes = []string{"fly:rockets"}
		a, base := w.serve(func(int, http.ResponseWriter, *http.Request) {})
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(config), Origin: a.url, Base: base}}
		req := w.request("POST", a.url, "x")
		var closed atomic.Bool
		req.Body = closer{req.Body, &closed}
		if _, err := client.Do(req); !errors.As(err, new(*m2m.ScopeError)) || !closed.Load() || len(a.bearer) != 0 {
			t.Errorf("error %v, body closed %v, %d requests", err, closed.Load(), len(a.bearer))
		}
	})
}

type closer struct {
	io.ReadCloser
	closed *atomic.Bool
}

func (c closer) Close() error {
	c.closed.Store(true)
	return c.ReadCloser.Close()
}

func TestAnAnswerThatStopsInTheMiddleEndsTheAttempt(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		release := make(chan struct{})
		a, base := w.serve(func(_ int, rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100")
			rw.Write([]byte("half"))
			rw.(http.Flusher).Flush()
			<-release
		})
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base, Timeout: 5 * time.Second}}
		began := time.Now()
		resp, err := client.Do(w.request("GET", a.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(resp.Body)
		if waited := time.Since(began); waited != 5*time.Second || err == nil || !strings.Contains(err.Error(), "within 5s") {
			t.Errorf("%v after %v, want the attempt's limit after 5s", err, waited)
		}
		resp.Body.Close()
		close(release)
	})
}

func TestAnAttemptWithoutAnAnswerIsRepeated(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		release := make(chan struct{})
		a, base := w.serve(func(n int, _ http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				<-release
			}
		})
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}}
		began := time.Now()
		if status := w.status(client, w.request("GET", a.url, "")); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		if waited := time.Since(began); waited < time.Minute || waited > 62*time.Second {
			t.Errorf("waited %v, want a minute and a pause", waited)
		}
		close(release)
	})
}

// patient lets each request wait before it goes to the network.
type patient struct {
	wait    time.Duration
	network http.RoundTripper
}

func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	<-time.After(p.wait)
	return p.network.RoundTrip(req)
}

func TestTheTimeOfAnAttemptBeginsWhenItIsSent(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		release := make(chan struct{})
		a, network := w.serve(func(n int, _ http.ResponseWriter, _ *http.Request) {
			if n == 2 {
				<-release
			}
		})
		transport := &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: patient{5 * time.Minute, network}}
		client := &http.Client{Transport: transport}
		if status := w.status(client, w.request("GET", a.url, "")); status != http.StatusOK || transport.Stats().Retries != 0 {
			t.Errorf("status %d, %d repeated: the time in the base counted", status, transport.Stats().Retries)
		}
		// On a connection that is there already.
		began := time.Now()
		_, err := client.Do(w.request("POST", a.url, "x"))
		if took := time.Since(began); took != 6*time.Minute || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "within 1m0s") {
			t.Errorf("%v after %v, want the limit a minute after it was sent", err, took)
		}
		close(release)
	})
}

func TestAnAttemptOverHTTP2HasATimeLimit(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("it came by %s", r.Proto)
		}
		if r.URL.Path == "/stuck" {
			<-release
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer close(release)
	tenant := logtotest.New(t)
	app := tenant.AddApp("orders")
	tenant.AddResource(shopping, "read:orders")
	tenant.Grant(app.ID, shopping, "read:orders")
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    shopping, HTTPClient: tenant.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := &m2m.Transport{Source: source, Origin: server.URL, Base: server.Client().Transport, Timeout: 100 * time.Millisecond}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	for range 2 { // the second on the first one's connection
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if _, err := client.Post(server.URL+"/stuck", "text/plain", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "within 100ms") {
			t.Errorf("got %v, want the attempt's limit", err)
		}
	}
}

func TestARequestWithoutAnEndpointClosesItsBody(t *testing.T) {
	source, err := m2m.NewSource(m2m.Config{Credentials: &provider{err: errors.New("no secret today")}, Resource: shopping})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("POST", "https://shop.example.com", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	var closed atomic.Bool
	req.Body = closer{req.Body, &closed}
	resp, err := (&m2m.Transport{Source: source}).RoundTrip(req)
	if err == nil {
		resp.Body.Close()
		t.Fatal("a request was sent without credentials")
	}
	if !closed.Load() || !strings.Contains(err.Error(), "no secret today") {
		t.Errorf("error %v, body closed %v", err, closed.Load())
	}
}

func TestAnAbsurdRetryAfterIsNotWaitedFor(t *testing.T) {
	for _, value := range []string{"-10000000000", "-1", "99999999999999999999", "soon", "86400", "Thu, 01 Jan 1970 00:00:00 GMT"} {
		t.Run(value, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				a, base := w.serve(func(n int, rw http.ResponseWriter, _ *http.Request) {
					if n == 1 {
						rw.Header().Set("Retry-After", value)
						rw.WriteHeader(http.StatusTooManyRequests)
					}
				})
				client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: a.url, Base: base}}
				began := time.Now()
				w.status(client, w.request("GET", a.url, ""))
				if waited := time.Since(began); waited > 2*time.Second {
					t.Errorf("waited %v", waited)
				}
			})
		})
	}
}

func TestAnOriginInTheClearIsRefused(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: "http://shop.example.com"}}
		_, err := client.Do(w.request("GET", "http://shop.example.com/orders", ""))
		if err == nil || !strings.Contains(err.Error(), "only https") {
			t.Errorf("got %v, want a refusal to send a token in the clear", err)
		}
	})
}
