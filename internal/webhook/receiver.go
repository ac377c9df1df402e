package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// signatureHeader carries the HMAC-SHA256 of the raw body in hexadecimal (recorded: webhook-user-created).
const signatureHeader = "logto-signature-sha-256"

// maxBody is the largest body that is taken. Lambda itself takes 6 MB.
const maxBody = 256 << 10

// Config is what a Receiver works with.
type Config struct {
	// Secret reads the webhook's secret from where it is kept. Required.
	Secret func(context.Context) (Secret, error)
	// Bus connects to EventBridge. It is called at the first event. Required.
	Bus func(context.Context) (EventBridge, error)
	// BusName is the event bus's name or ARN. Required.
	BusName string
	// Fields are the fields of the user that go on the bus. Nil: none.
	Fields []string
	// Stack is the deployment's name, as in jobs.Config: a dimension of the metrics, and part of what Repair remembers. Empty:
	// "local".
	Stack string
	// Log is where each delivery's line goes. Nil: os.Stderr.
	Log io.Writer
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Receiver takes webhooks. It may be used by several goroutines.
type Receiver struct {
	keeper *keeper
	bus    *bus
	stack  string
	log    *slog.Logger
	now    func() time.Time
	isEcho func(*delivery) bool
}

// NewReceiver makes a Receiver. It reads nothing and connects to nothing yet.
func NewReceiver(c Config) *Receiver {
	if c.Log == nil {
		c.Log = os.Stderr
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Stack == "" {
		c.Stack = "local"
	}
	return &Receiver{
		keeper: &keeper{read: c.Secret, now: c.Now},
		bus:    &bus{name: c.BusName, fields: c.Fields, connect: c.Bus},
		stack:  c.Stack,
		log:    slog.New(slog.NewJSONHandler(c.Log, nil)),
		now:    c.Now,
		isEcho: (*delivery).isEcho,
	}
}

// Invoke implements lambda.Handler for the events of a function URL.
func (r *Receiver) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var request events.LambdaFunctionURLRequest
	if json.Unmarshal(payload, &request) != nil {
		return nil, fmt.Errorf("this is no request of a function URL, which is what %s takes", Name)
	}
	return json.Marshal(r.Deliver(ctx, request))
}

// Deliver answers one request of a function URL, after one line in the log.
func (r *Receiver) Deliver(ctx context.Context, request events.LambdaFunctionURLRequest) events.LambdaFunctionURLResponse {
	began := r.now()
	v := r.verdict(ctx, request)
	r.report(ctx, v, r.now().Sub(began))
	response := events.LambdaFunctionURLResponse{
		StatusCode: v.status,
		Headers:    map[string]string{"Content-Type": "text/plain; charset=utf-8"},
		Body:       strings.ToLower(http.StatusText(v.status)) + "\n",
	}
	if v.status == http.StatusMethodNotAllowed {
		response.Headers["Allow"] = http.MethodPost
	}
	return response
}

// outcome is what became of a delivery.
type outcome string

const (
	accepted outcome = "accepted" // it is on the bus
	echo     outcome = "echo"     // left out: a write of our own caused it
	refused  outcome = "refused"  // it is not a webhook of Logto
	failed   outcome = "failed"   // it should be on the bus and is not
)

// verdict is a delivery's outcome, and why.
type verdict struct {
	outcome  outcome
	status   int
	reason   string
	bytes    int
	delivery *delivery // nil unless the signature is right
}

func (r *Receiver) verdict(ctx context.Context, request events.LambdaFunctionURLRequest) verdict {
	if method := request.RequestContext.HTTP.Method; method != http.MethodPost {
		return verdict{outcome: refused, status: http.StatusMethodNotAllowed, reason: "the method is not POST"}
	}
	body := []byte(request.Body)
	if request.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(request.Body); err != nil {
			return verdict{outcome: refused, status: http.StatusBadRequest, reason: "the body is not the base64 that the request says it is"}
		}
	}
	v := verdict{outcome: refused, bytes: len(body)}
	if len(body) > maxBody {
		v.status, v.reason = http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody)
		return v
	}
	if v.status, v.reason = r.authenticate(ctx, body, header(request.Headers, signatureHeader)); v.status != http.StatusOK {
		if v.status != http.StatusUnauthorized {
			v.outcome = failed
		}
		return v
	}
	d, err := parse(body)
	if err != nil {
		v.status, v.reason = http.StatusBadRequest, err.Error()
		return v
	}
	v.delivery = d
	if r.isEcho(d) {
		v.outcome = echo
		return v
	}
	if err := r.bus.put(ctx, d); err != nil {
		v.outcome, v.status, v.reason = failed, http.StatusServiceUnavailable, err.Error()
		return v
	}
	v.outcome = accepted
	return v
}

// authenticate tells whether the signature is that of the body: status 200, or another and the reason.
func (r *Receiver) authenticate(ctx context.Context, body []byte, signature string) (status int, reason string) {
	if signature == "" {
		return http.StatusUnauthorized, "no " + signatureHeader + " header"
	}
	mac, err := hex.DecodeString(signature)
	if err != nil || len(mac) != sha256.Size {
		return http.StatusUnauthorized, signatureHeader + " is not a SHA-256 in hexadecimal"
	}
	secret, err := r.keeper.current(ctx)
	if err != nil {
		return http.StatusServiceUnavailable, err.Error()
	}
	if isSigned(secret, body, mac) {
		return http.StatusOK, ""
	}
	const wrong = "the signature is wrong: not from Logto, or the secret has another webhook's signing key"
	other, err := r.keeper.other(ctx, secret)
	switch {
	case err != nil:
		return http.StatusUnauthorized, wrong + "; reading the secret again: " + err.Error()
	case other != secret && isSigned(other, body, mac):
		return http.StatusOK, ""
	}
	return http.StatusUnauthorized, wrong
}

// isSigned takes the same time wherever two signatures differ.
func isSigned(secret Secret, body, mac []byte) bool {
	want := hmac.New(sha256.New, []byte(secret.SigningKey))
	want.Write(body)
	return hmac.Equal(want.Sum(nil), mac)
}

// header looks a header up. Function URLs write names in lower case; other hosts may not.
func header(headers map[string]string, name string) string {
	if value, ok := headers[name]; ok {
		return value
	}
	for key, value := range headers {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}
