//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	events "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// functionURL is where the emulator serves the webhook's function URL.
func (s *stack) functionURL(t *testing.T) string {
	t.Helper()
	at, err := url.Parse(s.outputs["LogtoWebhookUrl"])
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(at.Host, ".")
	return shared.aws.URL + "/_aws/lambda-url/" + id + "/"
}

// gate is the way from the tenant to the function URL, which can be shut.
func (s *stack) gate(t *testing.T, shut *atomic.Bool) (address string) {
	t.Helper()
	target, err := url.Parse(s.functionURL(t))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shut.Load() {
			http.Error(w, "shut", http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL
}

// watch sends what is on the stack's bus with a source to a queue of that name.
func (s *stack) watch(t *testing.T, queue, source string) {
	t.Helper()
	made, err := s.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: s.name(queue)})
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := s.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: made.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn, bus := attributes.Attributes["QueueArn"], aws.String(s.outputs["EventsBusName"])
	_, err = s.sqs.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: made.QueueUrl, Attributes: map[string]string{
		"Policy": fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},`+
			`"Action":"sqs:SendMessage","Resource":%q}]}`, arn),
	}})
	if err == nil {
		_, err = s.events.PutRule(t.Context(), &eventbridge.PutRuleInput{
			Name: s.name(queue), EventBusName: bus, EventPattern: aws.String(fmt.Sprintf(`{"source":[%q]}`, source)),
		})
	}
	if err == nil {
		_, err = s.events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{
			Rule: s.name(queue), EventBusName: bus, Targets: []events.Target{{Id: aws.String("queue"), Arn: &arn}},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// management sends a request to the tenant's Management API.
func (s *stack) management(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.tenant.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := s.tenant.ManagementClient()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
	}
}

func TestDeployedWebhookBecomesAnEventOnTheBus(t *testing.T) {
	s := shared.stack
	s.showLog(t, webhook)
	var shut atomic.Bool
	hook := s.tenant.AddHook(s.gate(t, &shut), logtotest.UserCreated, logtotest.UserDataUpdated)
	if err := s.putSecret(t.Context(), stackName+"/signing-key", map[string]string{"signingKey": hook.SigningKey, "hookId": hook.ID}); err != nil {
		t.Fatal(err)
	}
	s.watch(t, "watch", "logto")
	user := s.users[s.orders[30].CustomerEmail]
	var seen []string
	arrived := func(n int, what string) {
		t.Helper()
		s.tenant.FlushHooks()
		eventually(t, 20*time.Second, what, func() bool {
			for _, body := range s.take(t, "watch") {
				var e struct {
					Source     string
					DetailType string `json:"detail-type"`
					Detail     struct {
						UserID string
						Data   map[string]any
					}
				}
				if err := json.Unmarshal([]byte(body), &e); err != nil {
					t.Fatalf("%v: %s", err, body)
				}
				if len(e.Detail.Data) != 1 || e.Detail.Data["id"] != e.Detail.UserID {
					t.Errorf("the event's data are %v, want the id alone", e.Detail.Data)
				}
				seen = append(seen, e.DetailType+" "+e.Detail.UserID)
			}
			return len(seen) >= n
		})
	}

	s.management(t, "PATCH", "/api/users/"+user, `{"name":"Ann"}`)
	arrived(1, "the changed name on the bus")
	// A job's own write fires a webhook, too. It must not come back to the jobs.
	s.management(t, "PATCH", "/api/users/"+user+"/custom-data", `{"customData":{"own":true}}`)
	created := s.tenant.AddUser(logtotest.User{PrimaryEmail: "new@example.com"})
	arrived(2, "the new user on the bus")

	if status := s.deliver(t, `{"event":"User.Created"}`, logtotest.Signature("another key", []byte(`{"event":"User.Created"}`))); status != http.StatusUnauthorized {
		t.Errorf("a wrong signature was answered %d, want 401", status)
	}

	shut.Store(true)
	missed := s.tenant.AddUser(logtotest.User{PrimaryEmail: "missed@example.com"})
	s.tenant.FlushHooks()
	shut.Store(false)
	for range 2 {
		s.report(t, webhook, []byte(`{}`))
	}
	arrived(3, "the user whose webhook failed")
	want := []string{"User.Data.Updated " + user, "User.Created " + created, "User.Created " + missed}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("on the bus: %q, want %q", seen, want)
	}
	s.nothingFailed(t)
}

// deliver posts a body with a signature to the function URL.
func (s *stack) deliver(t *testing.T, body, signature string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.functionURL(t), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("logto-signature-sha-256", signature)
	resp, err := httpClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
