//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
)

// withSecret gives the command, as that user, for a secret in Secrets Manager.
func (o operator) withSecret(t *testing.T, key emulator.Key, id string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), o.program, arguments...)
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH"), "M2M_SECRET_ID=" + id}
	for name, value := range shared.aws.Environment(key) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", arguments, err, said)
	}
	if strings.Contains(string(said), "logtotestSecret") {
		t.Fatalf("%s prints a secret", arguments)
	}
	return string(said)
}

func TestSecretInSecretsManagerIsRotatedByHand(t *testing.T) {
	w, o := newWorld(t, "by-hand"), newOperator(t)
	id, client := w.secrets[function.SyncCustomData], sdk.NewFromConfig(awsConfig(t, shared.aws.Root()))
	key := newUser(t, "by-hand-operator", mayRotate("by-hand/"+function.SyncCustomData))
	sync := startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData))
	rows := []byte(`{"rows":[{"primaryEmail":"` + w.orders[0].CustomerEmail + `","customData":{"plan":"pro"}}]}`)
	report(t, sync, rows)

	said := o.withSecret(t, key, id, "rotate", "--dry-run")
	if !strings.Contains(said, "would be: app ") || !strings.Contains(said, "has a new secret, m2mjobs-by-hand-sync-custom-data-") {
		t.Errorf("the dry run says %q", said)
	}
	if said := o.withSecret(t, key, id, "rotate", "status"); strings.Contains(said, "m2mjobs-") || !strings.Contains(said, "Default secret") {
		t.Errorf("after the dry run there is:\n%s", said)
	}
	o.withSecret(t, key, id, "rotate")
	// Somebody else's rotation, under way.
	version := announce(t, client, id, 1)
	if said := o.withSecret(t, key, id, "rotate"); !strings.Contains(said, "a rotation was under way") || !strings.Contains(said, version) {
		t.Errorf("with a rotation under way it says %q", said)
	}
	if got := labels(t, client, id, version); !slices.Equal(got, []string{rotation.Current}) {
		t.Errorf("the version is labelled %q", got)
	}
	said = o.withSecret(t, key, id, "rotate", "status")
	for _, part := range []string{"by-hand/sync-custom-data", version + "  AWSCURRENT", "AWSPREVIOUS", "left, to be deleted", "of others, never deleted"} {
		if !strings.Contains(said, part) {
			t.Errorf("the status does not say %q:\n%s", part, said)
		}
	}
	report(t, sync, rows)
	report(t, startFunction(t, function.SyncCustomData, w.environment(function.SyncCustomData)), rows)
}
