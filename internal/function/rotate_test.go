package function_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestRotateSecretNamesEveryVariableThatIsMissing(t *testing.T) {
	_, err := function.NewRotateSecret(function.Environment{"LONGEST_WARM": "a while"})
	if !errors.As(err, new(*function.ConfigError)) {
		t.Fatalf("%v, want a *ConfigError", err)
	}
	for _, variable := range []string{"M2M_SECRET_ID", "SECRETS", "LONGEST_WARM"} {
		if !strings.Contains(err.Error(), variable) {
			t.Errorf("%v does not name %s", err, variable)
		}
	}
}

func TestRotateSecretAsksAWSOnlyWhenItIsInvoked(t *testing.T) {
	asked := awsThatDenies(t)
	handler, err := function.NewRotateSecret(function.Environment{"M2M_SECRET_ID": "own", "SECRETS": "one,two"})
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("building it asked AWS for %v", got)
	}
	_, err = handler.Invoke(t.Context(), []byte(`{"Step":"createSecret","SecretId":"shop/orders","ClientRequestToken":"v"}`))
	for _, part := range []string{"createSecret", "shop/orders", "secretsmanager:DescribeSecret"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestTheDoctorOfRotateSecretLooksAtEachSecretThatIsReplaced(t *testing.T) {
	awsThatDenies(t)
	environment := function.Environment{"M2M_SECRET_ID": "own", "SECRETS": "own,arn:aws:secretsmanager:eu-central-1:000000000000:secret:shop/orders-AbCdEf"}
	handler, err := function.NewRotateSecret(environment)
	if err != nil {
		t.Fatal(err)
	}
	inside := examination(t, handler)
	f, err := function.Doctor(rotation.Name, environment)
	if err != nil {
		t.Fatal(err)
	}
	for _, report := range []doctor.Report{inside, f.Examine(t.Context(), "this machine")} {
		if secret := line(t, report, "secret"); secret.Result != doctor.Fail || !strings.Contains(secret.Found, "secretsmanager:GetSecretValue") {
			t.Errorf("%+v", secret)
		}
		for _, check := range []string{"own", "shop/orders-AbCdEf"} {
			if one := line(t, report, check); one.Result != doctor.NotTried {
				t.Errorf("%+v", one)
			}
		}
	}
	f, err = function.Doctor(rotation.Name, function.Environment{"M2M_SECRET_ID": "own"})
	if err != nil || len(f.Problems) != 1 || !strings.Contains(f.Problems[0], "SECRETS") {
		t.Errorf("%v, %q", err, f.Problems)
	}
}

func TestASecretOfAnotherTenantIsNotRotated(t *testing.T) {
	write := func(name, endpoint string, app logtotest.App) string {
		path := filepath.Join(t.TempDir(), name)
		text, err := json.Marshal(map[string]string{"endpoint": endpoint, "appId": app.ID, "appSecret": app.Secret})
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	tenant := logtotest.New(t)
	app := tenant.AddApp("orders")
	placeholder := write("placeholder.json", "https://fill-in-the-secret.invalid", app)
	own := write("own.json", tenant.URL, app)
	r, err := function.NewRotation(function.Environment{"M2M_SECRET_FILE": placeholder}, function.RotationConfig{AccessFile: own})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rotate(t.Context(), "", false); err == nil || !strings.Contains(fmt.Sprint(err), "placeholder") {
		t.Errorf("%v, want an error that names the tenants and the placeholder", err)
	}
	if n := tenant.Requests(""); n != 0 {
		t.Errorf("%d requests", n)
	}
}
