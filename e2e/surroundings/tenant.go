//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"sync"
	"time"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func startTenant(line []byte) error {
	var settings emulator.TenantSettings
	if err := json.Unmarshal(line, &settings); err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	address := settings.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	tenant, err := logtotest.Start(logtotest.Config{Listener: listener, TokenLifetime: settings.TokenLifetime})
	if err != nil {
		return err
	}
	for indicator, scopes := range settings.Resources {
		tenant.AddResource(indicator, scopes...)
	}
	for _, app := range settings.Apps {
		tenant.AddAppAs(app.Name, app.App)
		for indicator, scopes := range app.Grants {
			tenant.Grant(app.App.ID, indicator, scopes...)
		}
	}
	for _, user := range settings.Users {
		tenant.AddUser(user)
	}
	control, err := serveControl(tenant, settings.Users)
	if err != nil {
		return err
	}
	fmt.Println(tenant.URL, control)
	return nil
}

// serveControl serves the tenant's own methods to who started this process.
func serveControl(tenant *logtotest.Tenant, users []logtotest.User) (address string, err error) {
	server := rpc.NewServer()
	if err := server.RegisterName("Control", &Control{tenant: tenant, users: users}); err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "surroundings:", err)
				return
			}
			go server.ServeCodec(jsonrpc.NewServerCodec(connection))
		}
	}()
	return listener.Addr().String(), nil
}

// Control has the methods of a logtotest.Tenant in the form of net/rpc. emulator.Tenant calls them.
type Control struct {
	tenant *logtotest.Tenant
	mu     sync.Mutex
	users  []logtotest.User // that were added here, as they were then
}

// AddUser answers the user's id.
func (c *Control) AddUser(u logtotest.User, id *string) error {
	u.ID = c.tenant.AddUser(u)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users, *id = append(c.users, u), u.ID
	return nil
}

// Stop closes the tenant and answers its users with their custom data as the last request left it, which a real one has in its
// database.
func (c *Control) Stop(_ struct{}, users *[]logtotest.User) error {
	c.tenant.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.users {
		u.CustomData = c.tenant.CustomData(u.ID)
		*users = append(*users, u)
	}
	return nil
}

// AddHook answers the hook.
func (c *Control) AddHook(in emulator.TenantHook, hook *logtotest.Hook) error {
	*hook = c.tenant.AddHook(in.URL, in.Events...)
	return nil
}

// FlushHooks waits until all webhooks are answered.
func (c *Control) FlushHooks(_ struct{}, _ *struct{}) error {
	c.tenant.FlushHooks()
	return nil
}

// AddSecret answers the secret.
func (c *Control) AddSecret(in emulator.TenantSecret, made *logtotest.Secret) error {
	*made = c.tenant.AddSecret(in.AppID, in.Secret)
	return nil
}

// DeleteSecret deletes the secret of that name.
func (c *Control) DeleteSecret(in emulator.TenantSecret, _ *struct{}) error {
	c.tenant.DeleteSecret(in.AppID, in.Secret.Name)
	return nil
}

// Inject adds a fault.
func (c *Control) Inject(f logtotest.Fault, _ *struct{}) error {
	c.tenant.Inject(f)
	return nil
}

// ClearFaults removes all faults.
func (c *Control) ClearFaults(_ struct{}, _ *struct{}) error {
	c.tenant.ClearFaults()
	return nil
}

// Requests answers how many requests of the route came.
func (c *Control) Requests(route string, n *int) error {
	*n = c.tenant.Requests(route)
	return nil
}

// Token answers a token for the Management API. It costs no request.
func (c *Control) Token(_ struct{}, token *string) error {
	now := time.Now()
	*token = c.tenant.Sign(nil, map[string]any{
		"iss": c.tenant.Issuer(), "aud": logtotest.ManagementResource, "sub": "e2e", "client_id": "e2e", "scope": logto.ManagementScope,
		"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
	})
	return nil
}
