package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/internal/faults"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/secretsmanager"
)

// nearlyOver is when a token of an hour is to be renewed and is valid still, and the credentials are to be looked at again.
const nearlyOver = 56 * time.Minute

// newTenant is a tenant with an app that may do all.
func newTenant(t *testing.T) (*logtotest.Tenant, m2m.Credentials) {
	t.Helper()
	tenant := logtotest.New(t)
	app := tenant.AddApp("sync-custom-data")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	return tenant, m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}
}

// newSource is a Source for the Management API with a clock.
func newSource(t *testing.T, provider m2m.CredentialsProvider, client *http.Client) (*m2m.Source, *clock) {
	t.Helper()
	c := &clock{}
	source, err := m2m.NewSource(m2m.Config{
		Credentials: provider, ResourceOf: logto.ManagementResource, Scopes: []string{logto.ManagementScope}, HTTPClient: client, Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Wait(context.Background()) })
	return source, c
}

// accessToken gets a token, or ends the test.
func accessToken(t *testing.T, s *m2m.Source) string {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// awsConfig is the SDK's configuration as it is on Lambda, but for the place, and that its pauses are short.
func awsConfig(p *faults.Proxy, c *counted) aws.Config {
	return aws.Config{
		Region: "eu-central-1", BaseEndpoint: &p.URL, HTTPClient: c.client(),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = 50 * time.Millisecond })
		},
	}
}

// awsJSON answers as services with a JSON protocol do: throttled with that code.
func awsJSON(code string) func(http.ResponseWriter, faults.Fault) {
	return func(w http.ResponseWriter, f faults.Fault) {
		status, code := http.StatusBadRequest, code
		switch f {
		case faults.Status500:
			status, code = http.StatusInternalServerError, "InternalServerError"
		case faults.Status429:
			status, code = http.StatusTooManyRequests, "TooManyRequestsException"
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":%q,"message":"the service says no"}`, code)
	}
}

func secretsManager() place {
	return place{
		name: "Secrets Manager",
		waits: "A `Source` reads the app's secret before its first token, and again when what it has is five minutes old " +
			"and a token is due. It waits for 30 seconds in all, for 2 where it has a secret.",
		try: func(t *testing.T, f faults.Fault) cell {
			tenant, c := newTenant(t)
			proxy, sent := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				secret := fmt.Sprintf(`{"endpoint":%q,"appId":%q,"appSecret":%q}`, c.Endpoint, c.AppID, c.AppSecret.Reveal())
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				fmt.Fprintf(w, `{"Name":"m2mjobs/sync-custom-data","SecretString":%q}`, secret)
			}), awsJSON("ThrottlingException"))
			provider := secretsmanager.New("m2mjobs/sync-custom-data", func(context.Context) (secretsmanager.Client, error) {
				return sdk.NewFromConfig(awsConfig(proxy, sent)), nil
			})
			cold, _ := newSource(t, provider, tenant.Client())
			warm, later := newSource(t, provider, tenant.Client())
			accessToken(t, warm)
			later.jump(2 * nearlyOver) // its token is over, and the secret old

			breaks(t, proxy, f, nil)
			before := sent.n.Load()
			_, err := cold.Token(patience(t, f, time.Minute))
			attempts := sent.n.Load() - before
			if (err == nil) != (f == faults.Slow) {
				t.Errorf("a cold environment's call: %v", err)
			}
			if f != faults.Slow && tenant.Requests("POST /oidc/token") != 1 {
				t.Error("a token was asked for without a secret")
			}
			accessToken(t, warm)
			mend(t, proxy)
			accessToken(t, cold)
			return cell{
				seen(t, err, attempts),
				"a secret that was read before gets the next token as well",
				"the next call reads the secret",
			}
		},
	}
}

func tokenEndpoint() place {
	return place{
		name: "Token endpoint",
		waits: "`Source.Token`: 10 seconds an attempt, 4 attempts, 30 seconds in all, in a flight that belongs to no " +
			"caller; a caller waits no longer than its own deadline.",
		never: noThrottle,
		try: func(t *testing.T, f faults.Fault) cell {
			tenant, c := newTenant(t)
			proxy, sent := front(t, faults.To(tenant.URL), nil)
			c.Endpoint = proxy.URL
			cold, later := newSource(t, m2m.StaticCredentials(c), sent.client())
			warm, old := newSource(t, m2m.StaticCredentials(c), sent.client())
			atHand := accessToken(t, warm)
			old.jump(nearlyOver)

			breaks(t, proxy, f, nil)
			_, err := cold.Token(patience(t, f, time.Minute))
			attempts := cold.Stats().TokenRequests
			if (err == nil) != (f == faults.Slow) {
				t.Errorf("a call without a token: %v", err)
			}
			if accessToken(t, warm) != atHand {
				t.Error("the token at hand was dropped")
			}
			kept := "a token at hand serves to its end"
			goesOn := "the next call gets a token"
			if f == faults.Garbage {
				if _, again := cold.Token(t.Context()); again == nil || cold.Stats().TokenRequests != attempts {
					t.Errorf("asked again at once: %v", again)
				}
				later.jump(10 * time.Second)
				goesOn = "a call after the 10 seconds that a refusal stands gets a token"
			}
			mend(t, proxy)
			accessToken(t, cold)
			return cell{seen(t, err, attempts), kept, goesOn}
		},
	}
}

func jwks() place {
	return place{
		name: "JWKS",
		waits: "`Verifier.Verify` in the own API: the keys are fetched before the first token, daily, and for an unknown " +
			"key, 5 seconds at most; after a fetch that failed the next one comes after 10 seconds.",
		never: noThrottle,
		try: func(t *testing.T, f faults.Fault) cell {
			tenant, _ := newTenant(t)
			proxy, sent := front(t, faults.To(tenant.URL), nil)
			newVerifier := func(c *clock) *m2m.Verifier {
				v, err := m2m.NewVerifier(m2m.VerifierConfig{
					Issuer: tenant.Issuer(), Audience: logtotest.ManagementResource, JWKSURL: proxy.URL + "/oidc/jwks",
					HTTPClient: sent.client(), Now: c.now, Leeway: 48 * time.Hour, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			verify := func(ctx context.Context, v *m2m.Verifier, token string) error {
				_, err := v.Verify(ctx, token)
				return err
			}
			coldClock, warmClock := &clock{}, &clock{}
			cold, warm := newVerifier(coldClock), newVerifier(warmClock)
			source, _ := newSource(t, m2m.StaticCredentials(credentialsOf(tenant)), tenant.Client())
			token := accessToken(t, source)
			if err := verify(t.Context(), warm, token); err != nil {
				t.Fatal(err)
			}
			warmClock.jump(25 * time.Hour)

			patient := func() context.Context { // less than the 5 seconds that a fetch has
				if f == faults.Late {
					return patience(t, "", 2*time.Second)
				}
				return patience(t, f, time.Minute)
			}
			breaks(t, proxy, f, nil)
			before := sent.n.Load()
			err := verify(patient(), cold, token)
			attempts := sent.n.Load() - before
			if (err == nil) != (f == faults.Slow) || err != nil && !errors.Is(err, m2m.ErrKeysUnavailable) {
				t.Errorf("without keys: %v", err)
			}
			kept := "keys that were fetched before verify on, for 7 days"
			if f == faults.Late {
				if err := verify(patient(), warm, token); err == nil {
					t.Error("the one that fetches did not wait")
				}
				kept += "; only the one call that began the fetch waits for it"
			}
			if err := verify(t.Context(), warm, token); err != nil {
				t.Errorf("with keys of yesterday: %v", err)
			}
			mend(t, proxy)
			goesOn := "a call after 10 seconds fetches the keys"
			if f == faults.Slow || f == faults.Late {
				goesOn = "the fetch ends, and the next call has the keys"
			} else if verify(t.Context(), cold, token) == nil {
				t.Error("the keys were fetched again at once")
			}
			coldClock.jump(11 * time.Second)
			if err := verify(t.Context(), cold, token); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			return cell{seen(t, err, attempts), kept, goesOn}
		},
	}
}

// credentialsOf is a further app of the tenant.
func credentialsOf(tenant *logtotest.Tenant) m2m.Credentials {
	app := tenant.AddApp("another")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	return m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}
}
