//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// world is a tenant, a shop, a bucket, and for each function an app, a secret and a key that may do what its role in
// template.yaml may, and nothing else.
type world struct {
	*demo.World
	orders      []shop.Order
	bucket      string
	s3          *s3.Client
	keys        map[string]emulator.Key
	secrets     map[string]string // ARNs
	secretReads *atomic.Int64     // requests to Secrets Manager for a value
	awsURL      string
}

func newWorld(t *testing.T, name string) *world {
	t.Helper()
	orders, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	d, err := demo.Start(t.TempDir(), orders)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{World: d, orders: orders, bucket: name + "-bucket", keys: map[string]emulator.Key{}, secrets: map[string]string{}}
	w.s3 = newBucket(t, w.bucket)
	for _, job := range []string{function.DailyOrders, function.SyncCustomData} {
		value, err := os.ReadFile(d.Environment(job)["M2M_SECRET_FILE"])
		if err != nil {
			t.Fatal(err)
		}
		w.secrets[job] = newSecret(t, name+"/"+job, string(value))
	}
	w.keys[function.DailyOrders] = newUser(t, name+"-daily-orders", readSecret(name+"/daily-orders")+
		w.mayDo("s3:PutObject", "stats/*")+w.mayDo("s3:PutObject", "customers/*")+w.mayDo("s3:PutObject", "rejected/*"))
	w.keys[function.SyncCustomData] = newUser(t, name+"-sync-custom-data", readSecret(name+"/sync-custom-data")+
		w.mayDo("s3:GetObject", "customers/*")+w.mayDo("s3:PutObject", "rejected/*")+w.mayDo("s3:PutObject", "undo/*"))
	w.countSecretReads(t)
	return w
}

// mayDo is one more policy statement.
func (w *world) mayDo(action, keys string) string {
	return fmt.Sprintf(`,{"Effect":"Allow","Action":"%s","Resource":"arn:aws:s3:::%s/%s"}`, action, w.bucket, keys)
}

// countSecretReads puts a proxy before AWS, so that what the function did is counted and not what it says it did.
func (w *world) countSecretReads(t *testing.T) {
	target, err := url.Parse(shared.aws.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	reads := &atomic.Int64{}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			if r.In.Header.Get("X-Amz-Target") == "secretsmanager.GetSecretValue" {
				reads.Add(1)
			}
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
	})
	t.Cleanup(func() {
		proxy.Close()
		transport.CloseIdleConnections()
	})
	w.awsURL, w.secretReads = proxy.URL, reads
}

// environment is what template.yaml gives the function, and what Lambda adds.
func (w *world) environment(job string) map[string]string {
	variables := map[string]string{
		"M2M_SECRET_ID": w.secrets[job],
		"OUTPUT":        "s3://" + w.bucket,
	}
	if job == function.DailyOrders {
		variables["SHOP_URL"] = w.ShopURL
		variables["SHOP_RESOURCE"] = shop.Resource
		variables["TIME_ZONE"] = "Europe/Berlin"
	}
	maps.Copy(variables, shared.aws.Environment(w.keys[job]))
	variables["AWS_ENDPOINT_URL"] = w.awsURL
	return variables
}

// webhookEnvironment is what template.yaml gives logto-webhook, with the signing key of the sample events.
func (w *world) webhookEnvironment(t *testing.T) map[string]string {
	t.Helper()
	name := strings.TrimSuffix(w.bucket, "-bucket")
	app := w.Tenant.AddApp(webhook)
	w.Tenant.Grant(app.ID, logtotest.ManagementResource, logto.ManagementScope)
	hook := w.Tenant.AddHook(w.Tenant.URL, logtotest.UserCreated)
	secret := newSecret(t, name+"/"+webhook, fmt.Sprintf(`{"endpoint":%q,"appId":%q,"appSecret":%q}`, w.Tenant.URL, app.ID, app.Secret))
	key := newSecret(t, name+"/signing-key", fmt.Sprintf(`{"signingKey":"a-signing-key-for-tests-only-0000","hookId":%q}`, hook.ID))
	user := newUser(t, name+"-"+webhook, readSecret(name+"/"+webhook)+","+readSecret(name+"/signing-key")+fmt.Sprintf(
		`,{"Effect":"Allow","Action":"events:PutEvents","Resource":"arn:aws:events:%s:*:event-bus/default"}`, emulator.Region))
	variables := map[string]string{"SIGNING_SECRET_ID": key, "EVENT_BUS": "default", "EVENT_FIELDS": "id", "M2M_SECRET_ID": secret}
	maps.Copy(variables, shared.aws.Environment(user))
	return variables
}

// mayRotate is a policy statement as template.yaml has it for rotate-secret.
func mayRotate(name string) string {
	return fmt.Sprintf(`{"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue",`+
		`"secretsmanager:PutSecretValue","secretsmanager:UpdateSecretVersionStage"],`+
		`"Resource":"arn:aws:secretsmanager:%s:*:secret:%s-*"}`, emulator.Region, name)
}

// rotateEnvironment is what template.yaml gives rotate-secret, which rotates the secret of sync-custom-data here.
func (w *world) rotateEnvironment(t *testing.T) map[string]string {
	t.Helper()
	name := strings.TrimSuffix(w.bucket, "-bucket")
	app := w.Tenant.AddApp(rotation.Name)
	w.Tenant.Grant(app.ID, logtotest.ManagementResource, logto.ManagementScope)
	own := newSecret(t, name+"/"+rotation.Name, fmt.Sprintf(`{"endpoint":%q,"appId":%q,"appSecret":%q}`, w.Tenant.URL, app.ID, app.Secret))
	user := newUser(t, name+"-"+rotation.Name, readSecret(name+"/"+rotation.Name)+","+mayRotate(name+"/"+function.SyncCustomData))
	variables := map[string]string{"M2M_SECRET_ID": own, "SECRETS": w.secrets[function.SyncCustomData]}
	maps.Copy(variables, shared.aws.Environment(user))
	return variables
}
