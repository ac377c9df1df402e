package rotation_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// An app that may do all rotates its own secret, in a file.
func Example() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer tenant.Close()
	app := tenant.AddApp("sync-custom-data")
	tenant.Grant(app.ID, logtotest.ManagementResource, logto.ManagementScope)
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sync.json")
	text := fmt.Appendf(nil, `{"endpoint":%q,"appId":%q,"appSecret":%q}`, tenant.URL, app.ID, app.Secret)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		log.Fatal(err)
	}

	base := m2m.NewBase()
	defer base.CloseIdleConnections()
	access, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.FileCredentials(path), ResourceOf: logto.ManagementResource, Scopes: []string{logto.ManagementScope},
	})
	if err != nil {
		log.Fatal(err)
	}
	r := rotation.New(rotation.Config{
		Place: rotation.File(path),
		Logto: func(_ context.Context, of m2m.Credentials) (*logto.Client, error) {
			return logto.NewClient(logto.Config{
				Endpoint: of.Endpoint, HTTPClient: &http.Client{Transport: &m2m.Transport{Source: access, Base: base}},
			})
		},
	})
	done, err := r.Rotate(context.Background(), "", false)
	fmt.Println(done.AppID == app.ID, err)
	status, err := r.Status(context.Background())
	for _, secret := range status.Secrets {
		fmt.Println(secret.Role)
	}
	fmt.Println(err)
	// Output:
	// true <nil>
	// other
	// current
	// <nil>
}
