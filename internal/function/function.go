// Package function builds each Lambda function's job from its environment. The functions' main packages start it on
// Lambda, the m2mjobs command invokes it anywhere: both get the same job, made from the same variables.
//
// Building reads the environment, and away from Lambda whose secret file it names. Tokens, AWS clients and secrets in AWS
// come at their first use, so that an invocation that has nothing to do costs nothing.
package function

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/internal/schedule"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/secretsmanager"
)

// The functions' names.
const (
	SyncCustomData = "sync-custom-data"
	DailyOrders    = "daily-orders"
)

// NewSyncCustomData builds the job of functions/sync-custom-data. Its error is a *ConfigError.
func NewSyncCustomData(environment Environment) (jobs.Job[customdata.Params], jobs.Config, error) {
	return newSyncCustomData(environment, nil)
}

// Progress is how far a run of sync-custom-data is, and how its requests to the tenant stand.
type Progress struct {
	customdata.Progress
	Tenant governor.Stats
}

// newSyncCustomData builds the job, whose runs tell watch how far they are unless that is nil.
func newSyncCustomData(environment Environment, watch func(Progress)) (jobs.Job[customdata.Params], jobs.Config, error) {
	var none jobs.Job[customdata.Params]
	v, err := load[syncVariables](SyncCustomData, environment)
	if err != nil {
		return none, jobs.Config{}, err
	}
	aws := &lazyAWS{}
	access, err := newAccess(v.Secret, aws, m2m.Config{
		Resource:   v.Resource,
		ResourceOf: logto.ManagementResource,
	}, ManagementAccess(), v.Budget, "")
	if err != nil {
		return none, jobs.Config{}, &ConfigError{SyncCustomData, []string{err.Error()}}
	}
	var progress func(customdata.Progress)
	if watch != nil {
		progress = func(p customdata.Progress) { watch(Progress{p, access.governor.Stats()}) }
	}
	storage := files.New(aws.s3)
	job := customdata.Job(customdata.Config{
		Client: func(ctx context.Context) (*logto.Client, error) {
			endpoint, err := access.source.Endpoint(ctx)
			if err != nil {
				return nil, err
			}
			return logto.NewClient(logto.Config{Endpoint: endpoint, HTTPClient: access.client})
		},
		PerSecond: func(ctx context.Context) float64 { return access.perSecond(ctx, v.Budget) },
		Files:     storage,
		Output:    v.Output,
		SealKey:   environment.sealKey(v.Output),
		// The rows that daily-orders writes carry their day, and files may arrive late or twice.
		Newer:    "orders.asOf",
		Progress: progress,
	})
	config := access.jobsConfig(environment, job.Name, storage, v.Output)
	aws.keepState(&config, v.State)
	config.Doctor = examine(v.doctor(aws), environment)
	return governor.Govern(access.governor, job), config, nil
}

// NewDailyOrders builds the job of functions/daily-orders. Its error is a *ConfigError.
func NewDailyOrders(environment Environment) (jobs.Job[orders.Params], jobs.Config, error) {
	var none jobs.Job[orders.Params]
	v, err := load[ordersVariables](DailyOrders, environment)
	if err != nil {
		return none, jobs.Config{}, err
	}
	aws := &lazyAWS{}
	may, _ := AccessOf(DailyOrders)
	access, err := newAccess(v.Secret, aws, m2m.Config{Resource: v.ShopResource}, may, v.Budget, v.ShopURL)
	if err != nil {
		return none, jobs.Config{}, &ConfigError{DailyOrders, []string{err.Error()}}
	}
	client, err := shop.NewClient(v.ShopURL, access.client)
	if err != nil {
		return none, jobs.Config{}, &ConfigError{DailyOrders, []string{"SHOP_URL is wrong: " + err.Error()}}
	}
	storage := files.New(aws.s3)
	job := orders.Job(orders.Config{
		Shop: client,
		Put: func(ctx context.Context, name string, data []byte) (string, error) {
			return storage.Put(ctx, v.Output, name, data)
		},
		Location: v.TimeZone,
	})
	config := access.jobsConfig(environment, job.Name, storage, v.Output)
	config.Slots = schedule.Times
	aws.keepState(&config, v.State)
	config.Doctor = examine(v.doctor(aws), environment)
	return governor.Govern(access.governor, job), config, nil
}

// Handler builds the handler of the function of that name for a host other than Lambda, which changes by adapt what it
// does otherwise. Its error is a *ConfigError.
func Handler(name string, environment Environment, adapt func(*jobs.Config)) (lambda.Handler, error) {
	return Watched(name, environment, nil, adapt)
}

// Watched is Handler for a host that watches: runs of sync-custom-data tell watch how far they are, as customdata.Config.Progress
// is told. A watch of nil is told nothing.
func Watched(name string, environment Environment, watch func(Progress), adapt func(*jobs.Config)) (lambda.Handler, error) {
	switch name {
	case SyncCustomData:
		job, config, err := newSyncCustomData(environment, watch)
		adapt(&config)
		return jobs.Handler(job, config), err
	case DailyOrders:
		job, config, err := NewDailyOrders(environment)
		adapt(&config)
		return jobs.Handler(job, config), err
	}
	return nil, unknown(name, SyncCustomData, DailyOrders)
}

// access is an app's way to the one API that it has a token for.
type access struct {
	governor  *governor.Governor // in front of the tenant
	source    *m2m.Source
	transport *m2m.Transport
	calls     *Calls
	client    *http.Client
	month     func() int64 // tokens got this month, by all who share a cache
}

// newAccess is the way to the API at origin, or to the Management API where that is empty.
func newAccess(s secret, aws *lazyAWS, c m2m.Config, may doctor.Access, budget governor.Budget, origin string) (*access, error) {
	base := m2m.NewBase()
	base.MaxIdleConnsPerHost = governor.MaxConcurrency
	g := governor.New(governor.Config{Base: base, Budget: budget})
	c.HTTPClient = &http.Client{Transport: g}
	c.Credentials, c.Scopes = s.provider(aws), may.Scopes
	var month func() int64
	var err error
	if c.Cache, month, err = TokenCache(s.Cache, aws.tokenTable); err != nil {
		return nil, err
	}
	source, err := m2m.NewSource(c)
	if err != nil {
		return nil, err
	}
	transport := &m2m.Transport{Source: source, Origin: originOf(origin), Base: g}
	if origin != "" {
		transport.Base = base // no part of the tenant
	}
	calls := NewCalls(transport, may)
	return &access{g, source, transport, calls, &http.Client{Transport: calls}, month}, nil
}

// perSecond is the tenant's budget in requests a second; zero if there is none, or the tenant is not known.
func (a *access) perSecond(ctx context.Context, budget governor.Budget) float64 {
	endpoint, err := a.source.Endpoint(ctx)
	if err != nil {
		return 0 // the first request says why
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return 0
	}
	return budget.For(u.Hostname())
}

// provider reads the credentials from where the variables say.
func (s secret) provider(aws *lazyAWS) m2m.CredentialsProvider {
	if s.File != "" {
		return m2m.FileCredentials(s.File)
	}
	return secretsmanager.New(s.ID, aws.secretsManager)
}

// originOf cuts an address after its host.
func originOf(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	host, _, _ := strings.Cut(rest, "/")
	if host == "" {
		return address
	}
	return scheme + "://" + host
}

// jobsConfig is what both functions give the framework.
func (a *access) jobsConfig(environment Environment, job string, storage *files.Files, output string) jobs.Config {
	return jobs.Config{
		Stack:  environment.stack(job),
		Settle: a.source.Wait,
		Keep: func(ctx context.Context, name string, data []byte) (string, error) {
			return storage.Put(ctx, output, name, data)
		},
		Usage: func() jobs.Usage {
			tokens, requests, governed := a.source.Stats(), a.transport.Stats(), a.governor.Stats()
			return jobs.Usage{
				Requests:    requests.Requests,
				Retries:     requests.Retries,
				Tokens:      tokens.Tokens,
				SecretReads: tokens.SecretReads,
				Throttled:   requests.Throttled,
				WaitedMS:    requests.Waited.Milliseconds(),
				PacedMS:     governed.Waited.Milliseconds(),

				TokensThisMonth: a.month(),
				Calls:           a.calls.Counts(),
			}
		},
	}
}

// NewSource builds a Source with the credentials that the environment names, and c for the rest; a c without resource
// and organization is for the Management API. It returns c completed, too. Its error is a *ConfigError.
func NewSource(environment Environment, c m2m.Config) (*m2m.Source, m2m.Config, error) {
	const name = "token"
	v, err := load[secretVariables](name, environment)
	if err != nil {
		return nil, c, err
	}
	if c.Resource == "" && c.OrganizationID == "" {
		c.ResourceOf = logto.ManagementResource
		if len(c.Scopes) == 0 {
			c.Scopes = []string{logto.ManagementScope}
		}
	}
	c.Credentials = v.Secret.provider(&lazyAWS{})
	source, err := m2m.NewSource(c)
	if err != nil {
		return nil, c, &ConfigError{name, []string{err.Error()}}
	}
	return source, c, nil
}

// Files reads and writes files on disk and, with the AWS configuration of the process, in S3.
func Files() *files.Files { return files.New((&lazyAWS{}).s3) }
