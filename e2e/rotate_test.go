//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/secretsmanager"
)

// What old secrets have to be idle for: the lifetime of the tenant's tokens, and of the load's environments.
const (
	shortLifetime = 2 * time.Second
	shortWarm     = time.Second
)

// steps are those that Secrets Manager has a rotation made of.
var steps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

// stepEvent is what Secrets Manager sends for a step.
func stepEvent(step, secretID, version string) []byte {
	return fmt.Appendf(nil, `{"Step":%q,"SecretId":%q,"ClientRequestToken":%q}`, step, secretID, version)
}

// announce begins a rotation as Secrets Manager does, which the emulator does not: by a version without a value.
func announce(t *testing.T, client *sdk.Client, id string, n int) (version string) {
	t.Helper()
	version = fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	_, err := client.PutSecretValue(t.Context(), &sdk.PutSecretValueInput{
		SecretId: &id, ClientRequestToken: &version, VersionStages: []string{rotation.Pending},
	})
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// labels are the labels of a secret's version.
func labels(t *testing.T, client *sdk.Client, id, version string) []string {
	t.Helper()
	out, err := client.DescribeSecret(t.Context(), &sdk.DescribeSecretInput{SecretId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.VersionIdsToStages[version]
}

// mortal is a rotate-secret on the real Runtime API with a real Secrets Manager and a tenant, all of whose requests pass
// through proxies that kill its process when a request has taken effect, before it has the answer.
type mortal struct {
	*testing.T
	tenant      *logtotest.Tenant
	app         logtotest.App
	secret      string       // the ARN of the app's
	reader      *sdk.Client  // as a function's role may
	client      *sdk.Client  // as root
	direct      *http.Client // reaches the tenant past the proxy
	environment map[string]string

	mu          sync.Mutex
	function    *emulator.Function
	killAt      int
	seen        []string
	warm        *m2m.Source
	invocations int
	deleted     int
}

func newMortal(t *testing.T) *mortal {
	m := &mortal{T: t, tenant: logtotest.NewWith(t, logtotest.Config{TokenLifetime: shortLifetime}), client: sdk.NewFromConfig(awsConfig(t, shared.aws.Root()))}
	management := m.proxy(m.tenant.URL)
	target := strings.TrimPrefix(m.tenant.URL, "http://")
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	m.direct = &http.Client{Transport: transport}

	newApp := func(name string) (logtotest.App, string) {
		app := m.tenant.AddApp(name)
		m.tenant.Grant(app.ID, logtotest.ManagementResource, logto.ManagementScope)
		return app, newSecret(t, "mortal/"+name, fmt.Sprintf(`{"endpoint":%q,"appId":%q,"appSecret":%q}`, management, app.ID, app.Secret))
	}
	var own string
	m.app, m.secret = newApp("app")
	_, own = newApp(rotation.Name)
	m.tenant.AddUser(logtotest.User{Username: "ann"})
	m.reader = sdk.NewFromConfig(awsConfig(t, newUser(t, "mortal-app", readSecret("mortal/app"))))
	rotator := newUser(t, "mortal-"+rotation.Name, readSecret("mortal/"+rotation.Name)+","+mayRotate("mortal/app"))
	m.environment = shared.aws.Environment(rotator)
	m.environment["AWS_ENDPOINT_URL"] = m.proxy(shared.aws.URL)
	m.environment["M2M_SECRET_ID"], m.environment["SECRETS"], m.environment["LONGEST_WARM"] = own, m.secret, shortWarm.String()
	m.newWarm()
	t.Cleanup(func() { m.warm.Wait(context.Background()) })
	return m
}

// proxy starts one before a server, and returns its address.
func (m *mortal) proxy(target string) string {
	to, err := url.Parse(target)
	if err != nil {
		m.Fatal(err)
	}
	transport := &http.Transport{}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			m.before(r.In)
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(resp *http.Response) error { return m.after(resp.Request) },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	m.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL
}

// before sees that what is about to be deleted may be.
func (m *mortal) before(req *http.Request) {
	_, name, _ := strings.Cut(req.URL.Path, "/secrets/")
	if req.Method != http.MethodDelete {
		return
	}
	m.deleted++
	if since := time.Since(m.lastUse(name)); since < shortLifetime+shortWarm || !strings.HasPrefix(name, "m2mjobs-mortal-app-") {
		m.Errorf("%s is deleted %v after its last use", name, since)
	}
}

// after counts a request, has functions be invoked, and kills the process if its time has come.
func (m *mortal) after(req *http.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, req.Method+" "+req.URL.Path+" "+req.Header.Get("X-Amz-Target"))
	m.invoke(m.warm)
	m.invoke(m.source())
	if len(m.seen) != m.killAt {
		return nil
	}
	if err := m.function.Kill(); err != nil {
		m.Error(err)
	}
	return http.ErrAbortHandler
}

// source is an environment that starts cold: it reads the secret as the app's role may.
func (m *mortal) source() *m2m.Source {
	source, err := m2m.NewSource(m2m.Config{
		Credentials: secretsmanager.New(m.secret, func(context.Context) (secretsmanager.Client, error) { return m.reader, nil }),
		Resource:    logtotest.ManagementResource, Scopes: []string{logto.ManagementScope}, HTTPClient: m.direct,
	})
	if err != nil {
		m.Fatal(err)
	}
	return source
}

// newWarm has a new environment in the place of the one that is warm.
func (m *mortal) newWarm() {
	m.warm = m.source()
	m.invoke(m.warm)
}

// invoke gets a user with a token of the source. That must not fail.
func (m *mortal) invoke(source *m2m.Source) {
	m.invocations++
	base := m.direct.Transport
	api, err := logto.NewClient(logto.Config{Endpoint: m.tenant.URL, HTTPClient: &http.Client{
		Transport: &m2m.Transport{Source: source, Origin: m.tenant.URL, Base: base},
	}})
	if err != nil {
		m.Fatal(err)
	}
	if _, err := api.UsersBy(context.Background(), logto.ByUsername, []string{"ann"}); err != nil {
		m.Errorf("invocation %d: %v", m.invocations, err)
	}
	source.Wait(context.Background())
}

// lastUse is when the audit log has a secret of the app last.
func (m *mortal) lastUse(name string) time.Time {
	api, err := logto.NewClient(logto.Config{Endpoint: m.tenant.URL, HTTPClient: m.tenant.ManagementClient()})
	if err != nil {
		m.Fatal(err)
	}
	for use, err := range api.SecretUses(context.Background(), m.app.ID) {
		if err != nil {
			m.Error(err)
		}
		if use.Secret == name {
			return use.At
		}
	}
	return time.Time{}
}

// live starts the function, which dies after its request number killAt, and has it handle the events. It tells whether it
// died, and why it failed otherwise.
func (m *mortal) live(killAt int, events ...[]byte) (died bool, answer []byte, err error) {
	m.Helper()
	function, err := emulator.StartFunction("mortal-"+rotation.Name, shared.bootstraps[rotation.Name], m.environment)
	if err != nil {
		m.Fatal(err)
	}
	m.mu.Lock()
	m.function, m.killAt, m.seen = function, killAt, nil
	m.mu.Unlock()
	for _, event := range events {
		if answer, err = function.Invoke(context.Background(), event); err != nil {
			break
		}
	}
	m.mu.Lock()
	died = killAt > 0 && len(m.seen) >= killAt
	m.mu.Unlock()
	if strings.Contains(function.Log(), "logtotestSecret") {
		m.Error("the function's log has a secret in it")
	}
	if err := function.Close(); err != nil {
		m.Error(err)
	}
	return died, answer, err
}

// TestNoInvocationFailsWhereverTheFunctionIsKilled kills rotate-secret after each of its requests, in a rotation and in the
// daily cleaning, while functions are invoked at each of these points. What is repeated then must end well.
func TestNoInvocationFailsWhereverTheFunctionIsKilled(t *testing.T) {
	m := newMortal(t)
	rotations, deaths := 0, 0
	for killAt := 1; ; killAt++ {
		version := announce(t, m.client, m.secret, killAt)
		var events [][]byte
		for _, step := range steps {
			events = append(events, stepEvent(step, m.secret, version))
		}
		m.newWarm()
		died, _, err := m.live(killAt, events...)
		if died != (err != nil) {
			t.Fatalf("killed after request %d: %t; %v, after %q", killAt, died, err, m.seen)
		}
		if died {
			deaths++
			if _, _, err := m.live(0, events...); err != nil {
				t.Errorf("after a death at request %d: %v, after %q", killAt, err, m.seen)
			}
		}
		rotations++
		if got := labels(t, m.client, m.secret, version); !slices.Equal(got, []string{rotation.Current}) {
			t.Errorf("version %s is labelled %q, want %s", version, got, rotation.Current)
		}
		if !died {
			break
		}
	}
	sleeper := m.source()
	m.invoke(sleeper)
	if _, _, err := m.live(0, []byte(`{}`)); err != nil || m.deleted > 0 {
		t.Errorf("right after the rotations: %v, %d deleted", err, m.deleted)
	}
	m.newWarm()
	idle := time.NewTimer(shortLifetime + shortWarm + time.Second)
	<-idle.C
	for killAt := 1; ; killAt++ {
		died, answer, err := m.live(killAt, []byte(`{}`))
		if died != (err != nil) {
			t.Fatalf("cleaning, killed after request %d: %t; %v, after %q", killAt, died, err, m.seen)
		}
		if died {
			deaths++
			continue
		}
		var report struct{ Counts map[string]int64 }
		if err := json.Unmarshal(answer, &report); err != nil || report.Counts["kept"] != 0 {
			t.Errorf("the last cleaning: %s, %v", answer, err)
		}
		break
	}
	m.invoke(sleeper)
	m.invoke(m.warm)
	if m.deleted < rotations-1 {
		t.Errorf("%d secrets were deleted after %d rotations", m.deleted, rotations)
	}
	t.Logf("%d invocations over %d rotations of a function that was killed %d times; %d old secrets deleted", m.invocations, rotations, deaths, m.deleted)
	if deaths < 25 {
		t.Errorf("%d deaths: the points were not all met", deaths)
	}
}

func TestDeployedSecretsAreRotatedByTheirRole(t *testing.T) {
	s := shared.stack
	s.showLog(t, rotation.Name)
	for i, job := range []string{rotation.Name, "sync-custom-data", "daily-orders", webhook} {
		id := s.called + "/" + job
		version := announce(t, s.secrets, id, 100+i)
		for _, step := range steps {
			if _, failed := s.invoke(t, rotation.Name, stepEvent(step, id, version)); failed != "" {
				t.Fatalf("%s: %s", job, failed)
			}
		}
		if got := labels(t, s.secrets, id, version); !slices.Equal(got, []string{rotation.Current}) {
			t.Errorf("%s is labelled %q, want %s", id, got, rotation.Current)
		}
		out, err := s.secrets.GetSecretValue(t.Context(), &sdk.GetSecretValueInput{SecretId: &id, VersionId: aws.String(version)})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := m2m.ParseCredentials([]byte(*out.SecretString)); err != nil || c.AppID != s.apps[job].ID || c.Endpoint != s.tenant.URL {
			t.Errorf("%s has %v, %v", id, c, err)
		}
	}
	// What was warm, and what starts cold, go on.
	for range 2 {
		s.report(t, "sync-custom-data", fmt.Appendf(nil, `{"rows":[{"primaryEmail":%q,"customData":{"rotated":true}}]}`, s.orders[2].CustomerEmail))
		if _, err := shared.aws.KillFunction(*s.name("sync-custom-data")); err != nil {
			t.Fatal(err)
		}
	}
	r := s.report(t, rotation.Name, s.slot(t, rotation.Name, "2026-11-25T00:00:00Z"))
	if r.Counts["deleted"] != 0 || r.Counts["oldestDays"] != 0 {
		t.Errorf("the daily job: %v", r.Counts)
	}
	if strings.Contains(s.log(t, rotation.Name), "logtotestSecret") {
		t.Error("a secret is in the log")
	}
}
