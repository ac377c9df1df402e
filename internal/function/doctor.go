package function

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Doctor is the function of that name in that environment, as package doctor checks it. What is wrong with its variables is in
// its Problems. The error, a *ConfigError, says that there is no such function.
func Doctor(name string, environment Environment) (doctor.Function, error) {
	switch name {
	case SyncCustomData:
		v, problems := read[syncVariables](environment)
		if len(problems) > 0 {
			return doctor.Function{Name: name, Problems: problems}, nil
		}
		return v.doctor(&lazyAWS{}), nil
	case DailyOrders:
		v, problems := read[ordersVariables](environment)
		if v.ShopURL != "" {
			if _, err := shop.NewClient(v.ShopURL, http.DefaultClient); err != nil {
				problems = append(problems, "SHOP_URL is wrong: "+err.Error())
			}
		}
		if len(problems) > 0 {
			return doctor.Function{Name: name, Problems: problems}, nil
		}
		return v.doctor(&lazyAWS{}), nil
	case rotation.Name:
		return rotateDoctor(environment), nil
	}
	return doctor.Function{}, unknown(name, SyncCustomData, DailyOrders, rotation.Name)
}

// examine answers {"doctor": true}.
func examine(f doctor.Function, environment Environment) func(context.Context) (any, error) {
	from := environment.Place()
	return func(ctx context.Context) (any, error) { return f.Examine(ctx, from), nil }
}

// Place says where a function with this environment runs.
func (e Environment) Place() string {
	if name := e["AWS_LAMBDA_FUNCTION_NAME"]; name != "" {
		return "inside " + name
	}
	return "this machine"
}

func (v *syncVariables) doctor(aws *lazyAWS) doctor.Function {
	return doctor.Function{
		Name:        SyncCustomData,
		Credentials: v.Secret.provider(aws),
		Secret:      doctor.Secret{ID: v.Secret.ID, File: v.Secret.File},
		Resource:    v.Resource, ResourceOf: logto.ManagementResource, ResourceVariable: "LOGTO_RESOURCE",
		Access: ManagementAccess(),
		Places: []doctor.Place{StorePlace(v.State.Table, aws.dynamoDB), outputPlace(aws, v.Output, "rejected", "undo")},
	}
}

func (v *ordersVariables) doctor(aws *lazyAWS) doctor.Function {
	may, _ := AccessOf(DailyOrders)
	yesterday := time.Now().In(v.TimeZone).AddDate(0, 0, -1).Format(time.DateOnly)
	return doctor.Function{
		Name:        DailyOrders,
		Credentials: v.Secret.provider(aws),
		Secret:      doctor.Secret{ID: v.Secret.ID, File: v.Secret.File},
		Resource:    v.ShopResource, ResourceVariable: "SHOP_RESOURCE",
		Access: may,
		API:    &doctor.API{URL: v.ShopURL, Variable: "SHOP_URL", Path: "/orders?placedOn=" + yesterday},
		Places: []doctor.Place{StorePlace(v.State.Table, aws.dynamoDB), outputPlace(aws, v.Output, "stats", "customers", "rejected")},
	}
}

func rotateDoctor(environment Environment) doctor.Function {
	v, problems := read[rotateVariables](environment)
	if len(problems) == 0 {
		aws := &lazyAWS{}
		access, err := v.access(aws)
		if err == nil {
			return v.doctor(aws, v.rotations(aws, access, slog.New(slog.DiscardHandler)))
		}
		problems = append(problems, err.Error())
	}
	return doctor.Function{Name: rotation.Name, Problems: problems}
}

func (v *rotateVariables) doctor(aws *lazyAWS, of func(secretID string) *rotation.Rotation) doctor.Function {
	f := doctor.Function{
		Name:        rotation.Name,
		Credentials: v.Secret.provider(aws),
		Secret:      doctor.Secret{ID: v.Secret.ID, File: v.Secret.File},
		Optional:    "rotation",
		Resource:    v.Resource, ResourceOf: logto.ManagementResource, ResourceVariable: "LOGTO_RESOURCE",
		Access: ManagementAccess(),
	}
	for _, id := range v.Secrets {
		f.Places = append(f.Places, v.rotated(id, of(id)))
	}
	return f
}

// rotated is a secret that is to be replaced: the daily job's look at it, without what that does.
func (v *rotateVariables) rotated(id string, r *rotation.Rotation) doctor.Place {
	access := " --access-id " + v.Secret.ID
	if v.Secret.File != "" {
		access = " --access-file " + v.Secret.File
	}
	command := func(name string) string { return "`M2M_SECRET_ID=" + id + " m2mjobs " + name + access + "`" }
	try := func(ctx context.Context) doctor.Finding {
		done, err := r.Clean(ctx, true)
		var denied interface{ ErrorCode() string } // as the AWS SDK's errors have it
		switch {
		case errors.As(err, &denied) && denied.ErrorCode() == "AccessDeniedException":
			return doctor.Failed("deploy again, which puts the role right: `make deploy`; a secret of another stack is none that this one may replace", "%v", err)
		case errors.As(err, new(*rotation.CredentialsError)):
			return doctor.Failed("see both sides of it with "+command("rotate status")+", and put the app's credentials there: "+
				doctor.Secret{ID: id}.Put(), "%v", err)
		case err != nil:
			return doctor.Failed("leave the secret as it is, and look again later; "+command("rotate status")+" shows both sides of it", "%v", err)
		}
		now := time.Now()
		finding := doctor.Age(now.Add(-done.Age), now, "replace it by hand, "+command("rotate")+", and deploy with a number of days: `make deploy PARAMETERS='RotationDays=30'`")
		finding.Found += fmt.Sprintf("; of those before it %d can be deleted, and %d may be in use still", len(done.Deleted), len(done.Kept))
		return finding
	}
	name := id[strings.LastIndex(id, ":")+1:] // of an ARN, what follows secret:
	return doctor.Place{Name: name, What: "its app has the secret that stands in " + id + ", which is not old", Managed: true, Try: try}
}

// StorePlace is the table of runs as a place to try.
func StorePlace(table string, client func(context.Context) (dynamodb.Client, error)) doctor.Place {
	return doctor.Place{Name: "store", What: "the table of runs can be written to", Try: func(ctx context.Context) doctor.Finding {
		if table == "" {
			return doctor.Warning("set STATE_TABLE, as template.yaml does",
				"there is none: runs are remembered in memory, and a slot may run twice in two environments")
		}
		if err := dynamodb.New(table, client).Try(ctx); err != nil {
			return doctor.Failed("deploy again, which puts the table and the role right: `make deploy`; on this machine see STATE_TABLE, AWS_REGION and AWS_PROFILE", "%v", err)
		}
		return doctor.Found("table %s: a put, an update and a condition in one transaction were refused for their conditions alone, so all three are permitted", table)
	}}
}

// outputPlace is OUTPUT as a place to try, where the function writes below these directories.
func outputPlace(aws *lazyAWS, output string, below ...string) doctor.Place {
	storage := files.New(aws.s3)
	return doctor.Place{Name: "output", What: "files can be written to OUTPUT", Try: func(ctx context.Context) doctor.Finding {
		for _, dir := range below {
			if err := storage.Try(ctx, output, path.Join(dir, "doctor.json")); err != nil {
				return doctor.Failed("correct OUTPUT, or give who runs this the permission that is named; on AWS `make deploy` puts the role right", "%v", err)
			}
		}
		where := output + " (" + strings.Join(below, "/, ") + "/)"
		if strings.HasPrefix(output, "s3://") {
			return doctor.Found("%s: writes with a wrong checksum were refused for that alone, so s3:PutObject is permitted", where)
		}
		return doctor.Found("%s: this user may write there", where)
	}}
}

// unknown is the error for a name that no function has; these have one.
func unknown(name string, known ...string) error {
	return &ConfigError{name, []string{"there is no such function: " + strings.Join(known, ", ") + " are"}}
}
