package function

import (
	"net/http"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/internal/schedule"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// ownVariables are what a job of one's own reads, beside those that it reads itself.
type ownVariables struct {
	Secret secret
	State  state
	Output string          `env:"OUTPUT"`
	Budget governor.Budget `env:"LOGTO_BUDGET"`
}

func (v *ownVariables) secret() secret { return v.Secret }
func (v *ownVariables) state() state   { return v.State }

// NewOwn builds from its environment what a job of one's own works with: an HTTP client whose requests to the address carry
// access tokens, and what the framework needs to know. c says what the tokens are for; their credentials are the environment's:
//
//	M2M_SECRET_ID            the app's secret in Secrets Manager, by name or ARN; or M2M_SECRET_FILE, a file
//	TOKEN_CACHE              where tokens are shared, dynamodb://TABLE or a directory. Unset: nowhere
//	STATE_TABLE              the DynamoDB table that remembers runs. Unset: memory
//	CONTINUE_STATE_MACHINE   the state machine that continues unfinished runs. Unset: none does
//	LOGTO_BUDGET             how many requests Logto is sent, as for the other functions. Unset: half of Logto Cloud's limit
//	OUTPUT                   where rejected rows are kept: a directory or s3://bucket/prefix. Unset: in the report alone
//
// {"doctor": true} is answered by what package doctor finds, but for what the API at the address answers.
//
// Its error is a *ConfigError, which names every variable that is missing or wrong.
func NewOwn(name string, environment Environment, c m2m.Config, address string) (*http.Client, jobs.Config, error) {
	v, err := load[ownVariables](name, environment)
	if err != nil {
		return nil, jobs.Config{}, err
	}
	aws := &lazyAWS{}
	access, err := newAccess(v.Secret, aws, c, doctor.Access{Scopes: c.Scopes}, v.Budget, address)
	if err != nil {
		return nil, jobs.Config{}, &ConfigError{name, []string{err.Error()}}
	}
	config := access.jobsConfig(environment, name, files.New(aws.s3), v.Output)
	if v.Output == "" {
		config.Keep = nil
	}
	config.Slots = schedule.Times
	aws.keepState(&config, v.State)
	config.Doctor = examine(v.doctor(aws, name, c, address), environment)
	return access.client, config, nil
}

func (v *ownVariables) doctor(aws *lazyAWS, name string, c m2m.Config, address string) doctor.Function {
	f := doctor.Function{
		Name:        name,
		Credentials: v.Secret.provider(aws),
		Secret:      doctor.Secret{ID: v.Secret.ID, File: v.Secret.File},
		Resource:    c.Resource, ResourceOf: c.ResourceOf, ResourceVariable: "the resource that its code names",
		Access: doctor.Access{Scopes: c.Scopes},
		Places: []doctor.Place{StorePlace(v.State.Table, aws.dynamoDB)},
	}
	if address != "" {
		f.API = &doctor.API{URL: address, Variable: "the address that its code names"}
	}
	if v.Output != "" {
		f.Places = append(f.Places, outputPlace(aws, v.Output, "rejected"))
	}
	return f
}
