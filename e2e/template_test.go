//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
)

func TestRunbookHasEveryAlarm(t *testing.T) {
	t.Parallel()
	template, err := emulator.Transformed()
	if err != nil {
		t.Fatal(err)
	}
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile(filepath.Join(root, "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	alarms := regexp.MustCompile(`"AlarmName": \{"Fn::Sub": "\$\{AWS::StackName\}-([a-z-]+)"\}`).FindAllSubmatch(template, -1)
	if len(alarms) != strings.Count(string(template), `"AWS::CloudWatch::Alarm"`) {
		t.Fatalf("%d alarms have a name of the stack's", len(alarms))
	}
	for _, alarm := range alarms {
		if !bytes.Contains(runbook, []byte("`"+string(alarm[1])+"`")) {
			t.Errorf("docs/runbook.md does not say what to do about %s", alarm[1])
		}
	}
}

// The store's own tests make the table that its package comment describes, and what a request costs there depends on it.
func TestDeployedTableIsThatOfPackageDynamodb(t *testing.T) {
	t.Parallel()
	config := awsConfig(t, shared.aws.Root())
	newTable(t, config, "described")
	client := dynamodb.NewFromConfig(config)
	describe := func(name string) *types.TableDescription {
		t.Helper()
		out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(out.Table.AttributeDefinitions, func(a, b types.AttributeDefinition) int {
			return strings.Compare(*a.AttributeName, *b.AttributeName)
		})
		return out.Table
	}
	want, got := describe("described"), describe(shared.stack.outputs["RunsTableName"])
	if len(got.GlobalSecondaryIndexes) != 1 {
		t.Fatalf("%d indexes", len(got.GlobalSecondaryIndexes))
	}
	type table struct {
		Attributes      []types.AttributeDefinition
		Keys, IndexKeys []types.KeySchemaElement
		Index           string
		Projection      types.ProjectionType
	}
	of := func(d *types.TableDescription) table {
		i := d.GlobalSecondaryIndexes[0]
		return table{d.AttributeDefinitions, d.KeySchema, i.KeySchema, *i.IndexName, i.Projection.ProjectionType}
	}
	if diff := cmp.Diff(of(want), of(got), cmpopts.IgnoreUnexported(types.AttributeDefinition{}, types.KeySchemaElement{})); diff != "" {
		t.Errorf("the table (-comment +template):\n%s", diff)
	}
	// The emulator's CloudFormation leaves this out.
	template, err := emulator.Transformed()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(template, []byte(`"TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": true}`)) {
		t.Error("items of the template's table do not expire")
	}
}

// The template by itself is looked at by make lint.
func TestTemplateWithAJobOfOnesOwnIsValidWithoutAWarning(t *testing.T) {
	t.Parallel()
	lint, err := emulator.Tool("sam/bin/cfn-lint")
	if err != nil {
		t.Fatal(err)
	}
	template, _ := ownTemplate(t)
	cmd := exec.Command(lint, "--non-zero-exit-code", "informational", "--regions", emulator.Region, "--", template)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C"}
	if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, output)
	}
}
