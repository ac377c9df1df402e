package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	dynamodbsdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	tokens "github.com/m2mjobs/m2mjobs/pkg/m2m/dynamodb"
)

// variables are what the function reads of its environment.
type variables struct {
	signingID, signingFile string
	bus                    string
	fields                 []string
	appID, appFile         string
	resource               string
	table                  string
	budget                 governor.Budget
	cache                  string
	stack                  string
}

// field is what may be listed in EVENT_FIELDS.
var field = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// read reads the environment. Its error is a *function.ConfigError.
func read(e function.Environment) (variables, error) {
	v := variables{
		signingID: e["SIGNING_SECRET_ID"], signingFile: e["SIGNING_SECRET_FILE"], bus: e["EVENT_BUS"],
		appID: e["M2M_SECRET_ID"], appFile: e["M2M_SECRET_FILE"], resource: e["LOGTO_RESOURCE"], table: e["STATE_TABLE"],
		cache: e["TOKEN_CACHE"],
		stack: strings.TrimSuffix(e["AWS_LAMBDA_FUNCTION_NAME"], "-"+Name),
	}
	var problems []string
	switch {
	case v.signingID == "" && v.signingFile == "":
		problems = append(problems, "SIGNING_SECRET_ID is not set: the name or ARN of the webhook's secret in AWS Secrets Manager "+
			"(or SIGNING_SECRET_FILE, a file on disk)")
	case v.signingID != "" && v.signingFile != "":
		problems = append(problems, "SIGNING_SECRET_ID and SIGNING_SECRET_FILE are both set: keep one")
	}
	if v.bus == "" {
		problems = append(problems, "EVENT_BUS is not set: the name or ARN of the EventBridge bus that the events go to")
	}
	budget, err := governor.ParseBudget(e["LOGTO_BUDGET"])
	if err != nil {
		problems = append(problems, fmt.Sprintf("LOGTO_BUDGET is wrong: %v", err))
	}
	v.budget = budget
	if v.appID != "" && v.appFile != "" {
		problems = append(problems, "M2M_SECRET_ID and M2M_SECRET_FILE are both set: keep one")
	}
	list, set := e["EVENT_FIELDS"]
	if !set {
		list = "id"
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" && strings.TrimSpace(list) == "":
		case !field.MatchString(name):
			problems = append(problems, fmt.Sprintf("EVENT_FIELDS is wrong (%.40q): the user's fields that go on the bus, such as id,primaryEmail", name))
		case !slices.Contains(v.fields, name):
			v.fields = append(v.fields, name)
		}
	}
	if len(problems) > 0 {
		return variables{}, &function.ConfigError{Function: Name, Problems: problems}
	}
	return v, nil
}

// New builds the function's handler from its environment and nothing else: secrets and AWS clients come at their first
// use. It takes requests of the function URL, and whatever starts Repair: a schedule, or {} by hand. These are its
// variables:
//
//	SIGNING_SECRET_ID    the webhook's Secret in Secrets Manager, by name or ARN; or SIGNING_SECRET_FILE, a file
//	EVENT_BUS            the event bus, by name or ARN
//	EVENT_FIELDS         the user's fields that go on the bus, separated by commas. Unset: id
//	M2M_SECRET_ID        for Repair: the app's credentials, as of the other functions; or M2M_SECRET_FILE
//	LOGTO_RESOURCE       for Repair: the Management API's resource indicator. Unset: it follows from the endpoint
//	LOGTO_BUDGET         for Repair: how many requests the tenant gets, as of the other functions
//	STATE_TABLE          for Repair: the DynamoDB table that remembers what was repaired. Unset: memory
//	TOKEN_CACHE          for Repair: where tokens are shared, dynamodb://TABLE or a directory. Unset: nowhere
//
// Its error is a *function.ConfigError, which names every variable that is missing or wrong.
func New(e function.Environment) (lambda.Handler, error) { return newHandler(e, os.Stderr) }

func newHandler(e function.Environment, log io.Writer) (lambda.Handler, error) {
	v, err := read(e)
	if err != nil {
		return nil, err
	}
	clients := &clients{}
	receiver := NewReceiver(Config{Secret: v.secret(clients), Bus: clients.eventBridge, BusName: v.bus, Fields: v.fields, Stack: v.stack, Log: log})
	source, transport, g, month, err := v.access(clients)
	if err != nil {
		return nil, &function.ConfigError{Function: Name, Problems: []string{err.Error()}}
	}
	store, calls := v.store(clients), function.NewCalls(transport, function.ManagementAccess())
	repair := governor.Govern(g, receiver.Repair(RepairConfig{
		Endpoint: source.Endpoint,
		Client:   &http.Client{Transport: calls},
		Store:    store,
	}))
	return &handler{receiver, jobs.Handler(repair, jobs.Config{
		Stack: v.stack, Store: store, Settle: source.Wait, Log: log,
		Doctor: func(ctx context.Context) (any, error) { return v.doctor(clients).Examine(ctx, e.Place()), nil },
		Usage: func() jobs.Usage {
			tokens, requests := source.Stats(), transport.Stats()
			return jobs.Usage{
				Requests: requests.Requests, Retries: requests.Retries, Throttled: requests.Throttled,
				WaitedMS: requests.Waited.Milliseconds(), Tokens: tokens.Tokens, SecretReads: tokens.SecretReads,
				PacedMS:         g.Stats().Waited.Milliseconds(),
				TokensThisMonth: month(),
				Calls:           calls.Counts(),
			}
		},
	})}, nil
}

// handler is both sides of the function.
type handler struct{ receiver, repair lambda.Handler }

// Invoke implements lambda.Handler. Only Lambda itself makes an event with a requestContext out of an HTTP request, so
// nobody who has the function's URL can reach the repair.
func (h *handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var request struct {
		RequestContext json.RawMessage `json:"requestContext"`
	}
	if bytes.Contains(payload, []byte(`"requestContext"`)) && json.Unmarshal(payload, &request) == nil && request.RequestContext != nil {
		return h.receiver.Invoke(ctx, payload)
	}
	return h.repair.Invoke(ctx, payload)
}

// secret reads the webhook's secret from where the variables say.
func (v variables) secret(c *clients) func(context.Context) (Secret, error) {
	if v.signingFile != "" {
		return fileSecret(v.signingFile)
	}
	return managedSecret(v.signingID, c.secretsManager)
}

// access is the app's way to the Management API.
func (v variables) access(c *clients) (*m2m.Source, *m2m.Transport, *governor.Governor, func() int64, error) {
	cache, month, err := function.TokenCache(v.cache, func(ctx context.Context) (tokens.Client, error) { return c.dynamoDB(ctx) })
	if err != nil {
		return nil, nil, nil, nil, err
	}
	g := governor.New(governor.Config{Base: m2m.NewBase(), Budget: v.budget})
	source, err := m2m.NewSource(m2m.Config{
		Credentials: v.credentials(c),
		Resource:    v.resource,
		ResourceOf:  logto.ManagementResource,
		Scopes:      []string{logto.ManagementScope},
		HTTPClient:  &http.Client{Transport: g},
		Cache:       cache,
	})
	if err != nil {
		return nil, nil, nil, nil, err
	}
	return source, &m2m.Transport{Source: source, Base: g}, g, month, nil
}

// none are the credentials of a function that only receives.
type none struct{}

func (none) Credentials(context.Context) (m2m.Credentials, error) {
	return m2m.Credentials{}, fmt.Errorf("%s cannot repair without access to the Management API: set M2M_SECRET_ID", Name)
}

// store remembers what was repaired.
func (v variables) store(c *clients) jobs.Store {
	if v.table == "" {
		return jobs.NewMemoryStore(time.Now)
	}
	return dynamodb.New(v.table, c.dynamoDB)
}

// clients makes AWS clients when the first is needed: loading the SDK's configuration takes longer than a delivery.
type clients struct {
	mu     sync.Mutex
	config *aws.Config
}

func (c *clients) load(ctx context.Context) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config == nil {
		loaded, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return aws.Config{}, err
		}
		c.config = &loaded
	}
	return *c.config, nil
}

func (c *clients) secretsManager(ctx context.Context) (SecretsManager, error) {
	loaded, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return sdk.NewFromConfig(loaded), nil
}

func (c *clients) eventBridge(ctx context.Context) (EventBridge, error) {
	loaded, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return eventbridge.NewFromConfig(loaded), nil
}

func (c *clients) dynamoDB(ctx context.Context) (dynamodb.Client, error) {
	loaded, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return dynamodbsdk.NewFromConfig(loaded), nil
}
