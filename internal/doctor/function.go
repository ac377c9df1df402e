package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Function is a function as the checks see it.
type Function struct {
	Name string
	// Problems are what is wrong with its variables. If there are any, nothing else is tried.
	Problems []string
	// Credentials reads the app's secret. Nil: the function has none, and all that needs a token is not applicable.
	Credentials m2m.CredentialsProvider
	// Secret is where the app's secret is kept.
	Secret Secret
	// Optional is what is not set up as long as the secret is what the template made. Empty: the function cannot do without.
	Optional string
	// Resource and ResourceOf are of the token, as in m2m.Config.
	Resource   string
	ResourceOf func(endpoint string) string
	// Access has the scopes that it asks for.
	Access
	// ResourceVariable is the variable that Resource is from.
	ResourceVariable string
	// API is the own API that the token is for. Nil: it is for Logto's Management API.
	API *API
	// Places are what it writes to and otherwise needs, in order.
	Places []Place

	// HTTPClient sends the requests, but for those of Places. Its Timeout should be below Longest. Nil: a client that is made
	// for this, and whose connections are closed afterwards.
	HTTPClient *http.Client
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Secret says where a secret is kept: one of the two.
type Secret struct {
	ID   string // in Secrets Manager
	File string // on disk
}

// Put is the command that puts another value there.
func (s Secret) Put() string {
	if s.File != "" {
		return "write it into " + s.File + ", readable by you alone (chmod 600)"
	}
	return "`aws secretsmanager put-secret-value --secret-id " + s.ID + " --secret-string file://FILE`"
}

// API is an own API.
type API struct {
	URL      string // scheme and host
	Variable string // that the address is from
	// Path is one that a GET with the token must be answered with 200, query included. It begins with a slash. Empty: none is
	// known, and the API is not asked.
	Path string
}

// Place is a thing that the function writes to, or otherwise needs.
type Place struct {
	Name string // of the check
	What string // what is checked
	// Managed: it is looked at through the Management API, which must have answered.
	Managed bool
	// Try finds out whether the function could do with it what it does, and changes nothing. It says what was proved by that.
	Try func(context.Context) Finding
}

// Names of checks that others need.
const (
	configuration = "configuration"
	secret        = "secret"
	endpoint      = "endpoint"
	issuer        = "issuer"
	token         = "token"
	scopes        = "scopes"
	management    = "management API"
)

// Checks are all checks that can be made of the function from where this process runs. Make them anew for each examination.
func (f Function) Checks() []Check {
	e := &examination{Function: f, client: f.HTTPClient, now: f.Now}
	if e.now == nil {
		e.now = time.Now
	}
	checks := []Check{
		{configuration, "every variable is there and can be read", nil, e.configuration},
		{secret, "the app's secret can be read and is well-formed", []string{configuration}, e.secret},
		{endpoint, "Logto answers at the secret's endpoint, over TLS", []string{secret}, e.endpoint},
		{issuer, "Logto's issuer is {endpoint}/oidc", []string{endpoint}, e.issuer},
		{"clock", "this clock and Logto's tell the same time", []string{endpoint}, e.clock},
		{token, "Logto gives a token, signed by the issuer's keys, for " + cmp.Or(f.Resource, "the Management API"), []string{endpoint}, e.token},
		{scopes, "every scope that is asked for is granted", []string{token}, e.scopes},
	}
	if f.API == nil {
		checks = append(checks,
			Check{management, "the Management API answers with the token", []string{scopes}, e.management},
			Check{"role", "the app has a machine-to-machine role", []string{management}, e.role},
			Check{"least privilege", "no more is granted than it asks for", []string{configuration}, e.all},
		)
	} else {
		checks = append(checks,
			Check{"role", "the app has a machine-to-machine role", []string{configuration}, e.noRole},
			Check{"least privilege", "no more is granted than it asks for", []string{scopes}, e.least},
			Check{"own API", "the own API refuses who has no valid token, and answers with one", []string{scopes}, e.api},
		)
	}
	checks = append(checks, Check{"secret age", "the app's secret is not old", []string{configuration}, e.age})
	checks = append(checks, Check{"rate", "Logto does not answer 429", []string{endpoint}, e.rate})
	for _, place := range f.Places {
		needs := configuration
		if place.Managed {
			needs = management
		}
		checks = append(checks, Check{place.Name, place.What, []string{needs}, place.Try})
	}
	return checks
}

// Examine does all checks of the function, and says where they were made.
func (f Function) Examine(ctx context.Context, from string, more ...Check) Report {
	if f.HTTPClient == nil {
		base := m2m.NewBase()
		defer base.CloseIdleConnections()
		f.HTTPClient = &http.Client{Transport: base, Timeout: Longest - time.Second}
	}
	return NewReport(f.Name, from, Examine(ctx, append(f.Checks(), more...)))
}

// examination is what is learned on the way.
type examination struct {
	Function
	client *http.Client
	now    func() time.Time

	credentials m2m.Credentials
	issuerFound string          // in the discovery document
	skew        time.Duration   // of Logto's clock, against this one
	dated       bool            // whether that is known
	bearer      string          // the token
	missing     *m2m.ScopeError // nil: none is
	throttled   string          // what answered 429; empty: nothing has
}

func (e *examination) configuration(context.Context) Finding {
	if len(e.Problems) == 0 {
		return Found("all there")
	}
	return Failed("set them as each says: on AWS `make deploy PARAMETERS='NAME=value'`, on this machine in the file of --env-file",
		"%s", strings.Join(e.Problems, "; "))
}

func (e *examination) secret(ctx context.Context) Finding {
	if e.Credentials == nil {
		return Nothing("the function has no app of its own")
	}
	fill := `paste {"endpoint", "appId", "appSecret"} of the app (Console > Applications) into a file, and put it there: ` + e.Secret.Put()
	c, err := e.Credentials.Credentials(ctx)
	var denied interface{ ErrorCode() string } // as the AWS SDK's errors have it
	switch {
	case errors.As(err, &denied) && denied.ErrorCode() == "AccessDeniedException":
		return Failed("on AWS deploy again, which puts the role right: `make deploy`; on this machine see AWS_PROFILE", "%v", err)
	case err != nil:
		return Failed(fill, "%v", err)
	case c.AppID == placeholder && e.Optional != "":
		return Nothing("%s is not set up: the secret is still what the template made", e.Optional)
	case c.AppID == placeholder:
		return Failed(fill, "it is still what the template made, which no server accepts")
	}
	e.credentials = c
	return Found("%s", c)
}

// placeholder is the app's id in a secret that template.yaml has made.
const placeholder = "fill-in"

// OldSecret is the age from which on a secret should be replaced.
const OldSecret = 90 * 24 * time.Hour

// Age judges a secret that was put into its place at that time.
func Age(changed, now time.Time, mend string) Finding {
	age := now.Sub(changed)
	found := fmt.Sprintf("put there on %s, %d days ago", changed.UTC().Format(time.DateOnly), int(age.Hours()/24))
	if age < OldSecret {
		return Found("%s", found)
	}
	return Warning(mend, "%s: whoever saw it since can still use it", found)
}

// age is that of the secret's file.
func (e *examination) age(context.Context) Finding {
	if e.Secret.File == "" {
		return Nothing("not from here: `m2mjobs doctor --stack NAME` looks at it with the operator's credentials")
	}
	info, err := os.Stat(e.Secret.File)
	if err != nil {
		return Nothing("there is no file")
	}
	return Age(info.ModTime(), e.now(), "Console > Applications > the app > App secrets: make a new one, "+e.Secret.Put()+", then delete the old one")
}
