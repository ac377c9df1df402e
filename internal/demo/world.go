// Package demo is the surroundings of the functions on one machine: a Logto tenant in memory, the shop's API, and the
// apps' secrets in files. The functions run in them unchanged, over HTTP.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// YourJob is an app that may read products, for a job of one's own.
const YourJob = "your-job"

// World is a tenant, a shop, and an app for each function.
type World struct {
	Tenant  *logtotest.Tenant
	ShopURL string
	Dir     string // where secrets, environment files and output are
	users   map[string]string
	server  *http.Server
	served  chan error
	client  *http.Client
}

// Start starts a world whose users are the customers of the orders. It writes to dir: secrets/{app}.json and {app}.env
// for each function and for YourJob, and the functions' output to out/. Close it.
func Start(dir string, orders []shop.Order) (*World, error) {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		return nil, err
	}
	w := &World{Tenant: tenant, Dir: dir, users: map[string]string{}, served: make(chan error, 1)}
	if err := w.start(orders); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start(orders []shop.Order) error {
	for _, order := range orders {
		if _, known := w.users[order.CustomerEmail]; !known {
			w.users[order.CustomerEmail] = w.Tenant.AddUser(logtotest.User{
				PrimaryEmail: order.CustomerEmail,
				CustomData:   map[string]any{"plan": "free"},
			})
		}
	}
	w.Tenant.AddResource(shop.Resource, shop.ScopeReadOrders, shop.ScopeReadProducts, shop.ScopeWriteProducts)
	if err := w.serveShop(orders); err != nil {
		return err
	}
	syncApp := w.Tenant.AddApp(function.SyncCustomData)
	w.Tenant.Grant(syncApp.ID, logtotest.ManagementResource, "all")
	ordersApp := w.Tenant.AddApp(function.DailyOrders)
	w.Tenant.Grant(ordersApp.ID, shop.Resource, shop.ScopeReadOrders)
	yours := w.Tenant.AddApp(YourJob)
	w.Tenant.Grant(yours.ID, shop.Resource, shop.ScopeReadProducts)
	return errors.Join(
		w.writeSecret(function.SyncCustomData, syncApp),
		w.writeSecret(function.DailyOrders, ordersApp),
		w.writeSecret(YourJob, yours),
		w.writeEnvironment(function.SyncCustomData),
		w.writeEnvironment(function.DailyOrders),
		w.writeEnvironment(YourJob),
	)
}

// serveShop starts the shop, which accepts the tenant's tokens.
func (w *World) serveShop(orders []shop.Order) error {
	base := m2m.NewBase()
	w.client = &http.Client{Transport: base, Timeout: 10 * time.Second}
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer:     w.Tenant.Issuer(),
		Audience:   shop.Resource,
		HTTPClient: w.client,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.ShopURL = "http://" + listener.Addr().String()
	w.server = &http.Server{Handler: shop.NewHandler(verifier, orders), ReadHeaderTimeout: 10 * time.Second}
	go func() { w.served <- w.server.Serve(listener) }()
	return nil
}

// Environment is a function's environment in this world.
func (w *World) Environment(name string) function.Environment {
	environment := function.Environment{"M2M_SECRET_FILE": w.secretFile(name), "OUTPUT": filepath.Join(w.Dir, "out")}
	if name != function.SyncCustomData { // by its variables the doctor tells which function they are for
		environment["SHOP_URL"], environment["SHOP_RESOURCE"] = w.ShopURL, shop.Resource
	}
	return environment
}

// EnvironmentFile is where the same environment stands for m2mjobs invoke --env-file.
func (w *World) EnvironmentFile(name string) string { return filepath.Join(w.Dir, name+".env") }

func (w *World) secretFile(name string) string { return filepath.Join(w.Dir, "secrets", name+".json") }

func (w *World) writeSecret(name string, app logtotest.App) error {
	secret, err := json.Marshal(map[string]string{"endpoint": w.Tenant.URL, "appId": app.ID, "appSecret": app.Secret})
	if err != nil {
		return err
	}
	return write(w.secretFile(name), secret)
}

func (w *World) writeEnvironment(name string) error {
	var lines []byte
	for variable, value := range w.Environment(name) {
		// The format of godotenv, which would take $HOME for a variable.
		lines = fmt.Appendf(lines, "%s=%s\n", variable, strings.ReplaceAll(strconv.Quote(value), "$", `\$`))
	}
	return write(w.EnvironmentFile(name), lines)
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// CustomData is what Logto has of the user with this e-mail address; nil if there is none.
func (w *World) CustomData(email string) map[string]any { return w.Tenant.CustomData(w.users[email]) }

// Close stops the servers. Files stay.
func (w *World) Close() error {
	var err error
	if w.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = w.server.Shutdown(ctx)
		if served := <-w.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		w.client.CloseIdleConnections()
	}
	w.Tenant.Close()
	return err
}
