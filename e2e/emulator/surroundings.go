//go:build e2e

package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// BuildProgram builds a program of the repository for this machine, as "./cmd/m2mjobs", into dir.
func BuildProgram(dir, at string) (program string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, filepath.Base(at))
	build := exec.Command("go", "build", "-tags", "e2e", "-o", program, at)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", at, err, output)
	}
	return program, nil
}

// TenantSettings are what a tenant has when it starts.
type TenantSettings struct {
	Address       string // host:port; empty: a free port of 127.0.0.1
	TokenLifetime time.Duration
	Resources     map[string][]string // scopes by resource indicator
	Apps          []TenantApp
	Users         []logtotest.User
}

// TenantApp is an app with what it was granted.
type TenantApp struct {
	Name   string
	App    logtotest.App
	Grants map[string][]string // scopes by resource indicator
}

// TenantHook, TenantSecret are the arguments of AddHook, and of AddSecret and DeleteSecret, on their way to the process.
type (
	TenantHook struct {
		URL    string
		Events []string
	}
	TenantSecret struct {
		AppID  string
		Secret logtotest.Secret
	}
)

// Tenant is a tenant of logtotest in a process of its own. Its methods are those of logtotest.Tenant, over the process's second
// address, but for what the Management API tells: that is asked there. A call that did not get through returns nothing
// and is an error of Close.
type Tenant struct {
	URL      string
	program  string
	settings TenantSettings
	client   *http.Client

	mu      sync.Mutex
	child   *child
	control *rpc.Client
	token   string // of the process that runs
	failed  error
}

// StartTenant starts one from the program that BuildProgram built.
func StartTenant(program string, settings TenantSettings) (*Tenant, error) {
	t := &Tenant{program: program, settings: settings, client: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}}
	return t, t.start()
}

func (t *Tenant) start() error {
	c, said, err := startChild(exec.Command(t.program, "tenant"), t.settings)
	if err != nil {
		return err
	}
	url, address, _ := strings.Cut(said, " ")
	control, err := jsonrpc.Dial("tcp", address)
	if err != nil {
		return errors.Join(err, c.close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.URL, t.settings.Address = url, strings.TrimPrefix(url, "http://")
	t.child, t.control, t.token = c, control, ""
	return nil
}

// Kill ends the process: until Restart, connections to it are refused.
func (t *Tenant) Kill() error {
	var users []logtotest.User
	t.call("Stop", struct{}{}, &users)
	t.settings.Users = users
	return t.end()
}

// Restart starts a killed tenant again at the same address, with its apps, its users and their custom data.
func (t *Tenant) Restart() error { return t.start() }

func (t *Tenant) end() error {
	t.client.CloseIdleConnections()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.child == nil {
		return nil
	}
	err := errors.Join(t.control.Close(), t.child.close())
	t.child = nil
	return err
}

// Close kills the process and returns what went wrong in between.
func (t *Tenant) Close() error {
	err := t.end()
	return errors.Join(err, t.failed)
}

// note keeps an error for Close.
func (t *Tenant) note(what string, err error) {
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.failed = errors.Join(t.failed, fmt.Errorf("the tenant's %s: %w", what, err))
	}
}

func (t *Tenant) call(method string, argument, reply any) {
	t.mu.Lock()
	control := t.control
	t.mu.Unlock()
	t.note(method, control.Call("Control."+method, argument, reply))
}

// Issuer is the iss of its tokens.
func (t *Tenant) Issuer() string { return t.URL + "/oidc" }

// AddUser adds a user and returns its id.
func (t *Tenant) AddUser(u logtotest.User) (id string) {
	t.call("AddUser", u, &id)
	return id
}

// AddHook adds a webhook.
func (t *Tenant) AddHook(url string, events ...string) (hook logtotest.Hook) {
	t.call("AddHook", TenantHook{url, events}, &hook)
	return hook
}

// FlushHooks waits until all webhooks are answered.
func (t *Tenant) FlushHooks() { t.call("FlushHooks", struct{}{}, &struct{}{}) }

// AddSecret gives an app one more secret.
func (t *Tenant) AddSecret(appID string, s logtotest.Secret) (made logtotest.Secret) {
	t.call("AddSecret", TenantSecret{appID, s}, &made)
	return made
}

// DeleteSecret deletes a secret of an app.
func (t *Tenant) DeleteSecret(appID, name string) {
	t.call("DeleteSecret", TenantSecret{appID, logtotest.Secret{Name: name}}, &struct{}{})
}

// Inject adds a fault.
func (t *Tenant) Inject(f logtotest.Fault) { t.call("Inject", f, &struct{}{}) }

// ClearFaults removes all faults.
func (t *Tenant) ClearFaults() { t.call("ClearFaults", struct{}{}, &struct{}{}) }

// Requests is how many requests of a route came since the process started.
func (t *Tenant) Requests(route string) (n int) {
	t.call("Requests", route, &n)
	return n
}

// ManagementClient bears a token for the Management API.
func (t *Tenant) ManagementClient() *http.Client {
	t.mu.Lock()
	token := t.token
	t.mu.Unlock()
	if token == "" {
		t.call("Token", struct{}{}, &token)
		t.mu.Lock()
		t.token = token
		t.mu.Unlock()
	}
	return &http.Client{Transport: bearer{token, t.client.Transport}, Timeout: t.client.Timeout}
}

type bearer struct {
	token string
	base  http.RoundTripper
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.base.RoundTrip(req)
}

// CustomData is what the Management API answers of a user; nil where there is no such user. Numbers are json.Number.
func (t *Tenant) CustomData(id string) map[string]any {
	data, err := t.customData(id)
	t.note("custom data of "+id, err)
	return data
}

func (t *Tenant) customData(id string) (data map[string]any, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, t.URL+"/api/users/"+id+"/custom-data", nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.ManagementClient().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	decoder := json.NewDecoder(resp.Body)
	decoder.UseNumber()
	return data, decoder.Decode(&data)
}

// ShopSettings are what a shop needs to know.
type ShopSettings struct {
	Issuer string // of the tokens that it accepts
	// BadDay is a day on which the shop has one order more, which cannot be right.
	BadDay string
}

// Shop is the example's shop in a process of its own.
type Shop struct {
	URL   string
	child *child
}

// StartShop starts one from the program that BuildProgram built.
func StartShop(program string, settings ShopSettings) (*Shop, error) {
	c, url, err := startChild(exec.Command(program, "shop"), settings)
	if err != nil {
		return nil, err
	}
	return &Shop{url, c}, nil
}

// Close kills the process.
func (s *Shop) Close() error { return s.child.close() }
