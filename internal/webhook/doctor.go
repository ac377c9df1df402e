package webhook

import (
	"context"
	"errors"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/secretsmanager"
)

// Doctor is the function in that environment, as package doctor checks it.
func Doctor(e function.Environment) doctor.Function {
	v, err := read(e)
	if wrong := (*function.ConfigError)(nil); errors.As(err, &wrong) {
		return doctor.Function{Name: Name, Problems: wrong.Problems}
	}
	return v.doctor(&clients{})
}

func (v variables) doctor(c *clients) doctor.Function {
	f := doctor.Function{
		Name:     Name,
		Secret:   doctor.Secret{ID: v.appID, File: v.appFile},
		Optional: "the repair",
		Resource: v.resource, ResourceOf: logto.ManagementResource, ResourceVariable: "LOGTO_RESOURCE",
		Access: function.ManagementAccess(),
		Places: []doctor.Place{
			{Name: "signing key", What: "the webhook's signing key can be read and is well-formed", Try: v.trySigningKey(c)},
			{Name: "bus", What: "events can be put on the bus", Try: func(context.Context) doctor.Finding {
				return doctor.Nothing("only an event would tell, and rules would act on it: Console > Webhooks > the webhook > Send test payload sends one")
			}},
			function.StorePlace(v.table, c.dynamoDB),
		},
	}
	if v.appID != "" || v.appFile != "" {
		f.Credentials = v.credentials(c)
	}
	return f
}

// credentials are the app's, for Repair.
func (v variables) credentials(c *clients) m2m.CredentialsProvider {
	switch {
	case v.appFile != "":
		return m2m.FileCredentials(v.appFile)
	case v.appID != "":
		return secretsmanager.New(v.appID, func(ctx context.Context) (secretsmanager.Client, error) { return c.secretsManager(ctx) })
	}
	return none{}
}

func (v variables) trySigningKey(c *clients) func(context.Context) doctor.Finding {
	where := doctor.Secret{ID: v.signingID, File: v.signingFile}
	return func(ctx context.Context) doctor.Finding {
		secret, err := v.secret(c)(ctx)
		switch {
		case err != nil:
			return doctor.Failed(`Console > Webhooks > the webhook: paste {"signingKey", "hookId"} into a file, and put it there: `+where.Put(), "%v", err)
		case secret.HookID == "":
			return doctor.Warning(`add "hookId", the id in the address of the webhook's page in the console, to the secret`,
				"well-formed, without the webhook's id: webhooks are taken, but the repair cannot look for those that did not arrive")
		}
		return doctor.Found("well-formed, of %s. Whether it is the right one, only a delivery tells", secret)
	}
}
