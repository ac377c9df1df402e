package function

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Environment is a function's variables by name.
type Environment map[string]string

// Process is the environment of this process.
func Process() Environment { return env.ToMap(os.Environ()) }

// stack is the first part of the job's slots. The template names a function {stack}-{job}. Elsewhere there is no stack,
// and what the job works on stands for it: a run against one tenant must not go on with the checkpoint of another's.
func (e Environment) stack(job string) string {
	if name := e["AWS_LAMBDA_FUNCTION_NAME"]; name != "" {
		return strings.TrimSuffix(name, "-"+job)
	}
	hash := sha256.New()
	for _, variable := range []string{
		"M2M_SECRET_ID", "LOGTO_RESOURCE", "SHOP_URL", "SHOP_RESOURCE",
		// The same name is another secret in another account.
		"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER",
	} {
		fmt.Fprintf(hash, "%s=%s\n", variable, e[variable])
	}
	fmt.Fprintf(hash, "OUTPUT=%s\n", absolute(e["OUTPUT"]))
	if file := e["M2M_SECRET_FILE"]; file != "" {
		fmt.Fprintf(hash, "M2M_SECRET_FILE=%s\n", absolute(file))
		if c, err := m2m.FileCredentials(file).Credentials(context.Background()); err == nil {
			fmt.Fprintf(hash, "%s %s\n", c.Endpoint, c.AppID)
		}
	}
	return fmt.Sprintf("local-%x", hash.Sum(nil)[:4])
}

// absolute is the path of a file, or a location that is none as it is.
func absolute(location string) string {
	if path, err := filepath.Abs(location); err == nil && !strings.Contains(location, "://") {
		return path
	}
	return location
}

// secret says where the app's credentials are, and where the tokens that are got with them are shared.
type secret struct {
	ID    string `env:"M2M_SECRET_ID"`
	File  string `env:"M2M_SECRET_FILE"`
	Cache string `env:"TOKEN_CACHE"`
}

// state says where a run's state is kept, and who continues it.
type state struct {
	Table   string `env:"STATE_TABLE"`
	Machine string `env:"CONTINUE_STATE_MACHINE"`
}

// problems are what is wrong with it.
func (s state) problems() []string {
	switch {
	case s.Machine == "":
	case !isMachine(s.Machine):
		return []string{"CONTINUE_STATE_MACHINE is wrong: " + meaning("CONTINUE_STATE_MACHINE")}
	case s.Table == "":
		return []string{"STATE_TABLE is not set, and CONTINUE_STATE_MACHINE is: what a run left has to be where the next invocation finds it: " +
			meaning("STATE_TABLE")}
	}
	return nil
}

// isMachine tells whether that is a state machine's ARN. All functions start with it, so no regular expression is compiled.
func isMachine(arn string) bool {
	parts := strings.Split(arn, ":")
	return len(parts) == 7 && parts[0] == "arn" && parts[2] == "states" && parts[3] != "" && len(parts[4]) == 12 &&
		parts[5] == "stateMachine" && parts[6] != ""
}

// secretVariables are what a token needs.
type secretVariables struct {
	Secret secret
}

// syncVariables are what sync-custom-data reads.
type syncVariables struct {
	Secret   secret
	State    state
	Output   string          `env:"OUTPUT,required,notEmpty"`
	Resource string          `env:"LOGTO_RESOURCE"`
	Budget   governor.Budget `env:"LOGTO_BUDGET"`
}

// ordersVariables are what daily-orders reads.
type ordersVariables struct {
	Secret       secret
	State        state
	Output       string          `env:"OUTPUT,required,notEmpty"`
	ShopURL      string          `env:"SHOP_URL,required,notEmpty"`
	ShopResource string          `env:"SHOP_RESOURCE,required,notEmpty"`
	TimeZone     *time.Location  `env:"TIME_ZONE" envDefault:"UTC"`
	Budget       governor.Budget `env:"LOGTO_BUDGET"`
}

// meaning says of each variable what belongs there.
func meaning(variable string) string {
	switch variable {
	case "M2M_SECRET_ID":
		return "the name or ARN of the app's secret in AWS Secrets Manager (or M2M_SECRET_FILE, a file on disk)"
	case "OUTPUT":
		return "where files are written: a directory or s3://bucket/prefix"
	case "STATE_TABLE":
		return "the DynamoDB table of runs (empty: state is kept in memory, and ends with the execution environment)"
	case "CONTINUE_STATE_MACHINE":
		return "the ARN of the Standard state machine that continues unfinished runs, such as " +
			"arn:aws:states:eu-central-1:123456789012:stateMachine:my-stack-continue (empty: none does)"
	case "LOGTO_BUDGET":
		return "how many requests the tenant gets from jobs, such as 50% of Logto Cloud's limit, 25/s or none " +
			"(empty: 50% if the endpoint is Logto Cloud's, no limit elsewhere)"
	case "TOKEN_CACHE":
		return "where tokens are shared with other environments, sealed with the app secret: dynamodb://TABLE or a directory " +
			"(empty: each gets its own)"
	case "SHOP_URL":
		return "the address of the own API, such as https://shop.example.com"
	case "SHOP_RESOURCE":
		return "the own API's resource indicator in Logto, such as https://shopping.api"
	case "SECRETS":
		return "the names or ARNs of the secrets that are rotated, with commas between them"
	case "LONGEST_WARM":
		return "how long a process may keep a secret that it has read, such as 24h, which is what it is if that is not set"
	case "TIME_ZONE":
		return "an IANA time zone, such as Europe/Oslo"
	}
	return ""
}

// variables are what a function reads from its environment.
type variables interface {
	secret() secret
	state() state
}

func (v *secretVariables) secret() secret { return v.Secret }
func (v *syncVariables) secret() secret   { return v.Secret }
func (v *ordersVariables) secret() secret { return v.Secret }

func (v *secretVariables) state() state { return state{} }
func (v *syncVariables) state() state   { return v.State }
func (v *ordersVariables) state() state { return v.State }

// load reads variables from the environment. Its error names every one that is missing or wrong.
func load[V any, P interface {
	*V
	variables
}](function string, environment Environment) (P, error) {
	variables, problems := read[V, P](environment)
	if file := variables.secret().File; file != "" && variables.secret().ID == "" {
		if _, err := m2m.FileCredentials(file).Credentials(context.Background()); err != nil {
			problems = append(problems, "M2M_SECRET_FILE is wrong: "+err.Error())
		}
	}
	if len(problems) > 0 {
		return nil, &ConfigError{Function: function, Problems: problems}
	}
	return variables, nil
}

// read reads variables from the environment, and says what is wrong with which. It does not look into the secret's file.
func read[V any, P interface {
	*V
	variables
}](environment Environment) (_ P, problems []string) {
	variables := P(new(V))
	err := env.ParseWithOptions(variables, env.Options{Environment: environment})
	if all := (env.AggregateError{}); errors.As(err, &all) {
		for _, one := range all.Errors {
			problems = append(problems, problem[V](one))
		}
	} else if err != nil {
		problems = append(problems, "environment: "+err.Error())
	}
	s := variables.secret()
	switch {
	case s.ID == "" && s.File == "":
		problems = append(problems, "M2M_SECRET_ID is not set: "+meaning("M2M_SECRET_ID"))
	case s.ID != "" && s.File != "":
		problems = append(problems, "M2M_SECRET_ID and M2M_SECRET_FILE are both set: keep one")
	}
	if _, _, err := TokenCache(s.Cache, nil); err != nil {
		problems = append(problems, err.Error())
	}
	return variables, append(problems, variables.state().problems()...)
}

// problem words one error of the env package.
func problem[V any](err error) string {
	if unset := (env.VarIsNotSetError{}); errors.As(err, &unset) {
		return unset.Key + " is not set: " + meaning(unset.Key)
	}
	if empty := (env.EmptyVarError{}); errors.As(err, &empty) {
		return empty.Key + " is empty: " + meaning(empty.Key)
	}
	if wrong := (env.ParseError{}); errors.As(err, &wrong) {
		field, _ := reflect.TypeFor[V]().FieldByName(wrong.Name)
		key, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		return fmt.Sprintf("%s is wrong (%v): %s", key, wrong.Err, meaning(key))
	}
	return err.Error()
}

// ConfigError says that a function can't start because of its environment.
type ConfigError struct {
	Function string   // the function's name
	Problems []string // one for each variable: its name, what is wrong, and what belongs there
}

// Error names every problem.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("%s cannot start: %s", e.Function, strings.Join(e.Problems, "; "))
}
