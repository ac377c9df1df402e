//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// rotated is the check of rotate-secret for a function's secret, which is called by the secret's name, or the end of its ARN.
func rotated(t *testing.T, inside map[string]doctor.Line, job string) (check string) {
	t.Helper()
	for check := range inside {
		if strings.HasPrefix(check, stackName+"/"+job) {
			return check
		}
	}
	t.Errorf("no check of the secret of %s", job)
	return ""
}

func TestDeployedDoctorSeesWhatCannotBeRotated(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	t.Run("a wrong secret", func(t *testing.T) {
		defer s.wrongSecret(t, function.SyncCustomData)()
		_, inside := m2mjobs.doctor(t, rotation.Name, 1)
		finds(t, inside, rotated(t, inside, function.SyncCustomData), doctor.Fail, "its secret is none of app", "m2mjobs rotate status --access-id", "put-secret-value --secret-id")
		finds(t, inside, rotated(t, inside, rotation.Name), doctor.OK)
	})
	t.Run("no answer", func(t *testing.T) {
		s.tenant.Inject(logtotest.Fault{Route: "GET /api/applications/{id}/secrets", Times: -1, Status: 503})
		defer s.tenant.ClearFaults()
		_, inside := m2mjobs.doctor(t, rotation.Name, 1)
		check := rotated(t, inside, function.SyncCustomData)
		finds(t, inside, check, doctor.Fail, "503", "leave the secret as it is")
		if strings.Contains(inside[check].Mend, "put-secret-value") {
			t.Errorf("it asks for another secret in the place of a good one: %+v", inside[check])
		}
	})
	t.Run("another's secret", func(t *testing.T) {
		s.withVariables(t, rotation.Name, map[string]string{"SECRETS": stackName + "/signing-key"})
		_, inside := m2mjobs.doctor(t, rotation.Name, 1)
		finds(t, inside, stackName+"/signing-key", doctor.Fail, "the role needs secretsmanager:DescribeSecret", "make deploy")
	})
	t.Run("no access", func(t *testing.T) {
		defer s.wrongSecret(t, rotation.Name)()
		_, inside := m2mjobs.doctor(t, rotation.Name, 1)
		finds(t, inside, "token", doctor.Fail, "401 invalid_client")
		finds(t, inside, rotated(t, inside, function.SyncCustomData), doctor.NotTried)
	})
	t.Run("no variable", func(t *testing.T) {
		s.withVariables(t, rotation.Name, map[string]string{"SECRETS": ""})
		outside, _ := m2mjobs.doctor(t, rotation.Name, 1)
		finds(t, outside, "configuration", doctor.Fail, "SECRETS is not set", "make deploy")
	})
}
