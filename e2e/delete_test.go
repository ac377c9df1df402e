//go:build e2e

package e2e

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
)

// left splits a stack's resources into those that are there and those that are not.
func left(t *testing.T, resources []emulator.Resource) (there, gone []string) {
	t.Helper()
	everything, err := shared.aws.Everything(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resources {
		list, listed := everything[r.Type]
		id := r.ID
		if strings.HasPrefix(id, "http") { // of a queue, whose host has several names
			id = path.Base(id)
		}
		switch name := r.Type + " " + r.ID; {
		case slices.Contains(list, id):
			there = append(there, name)
		case listed:
			gone = append(gone, name)
		case !slices.Contains(parts, r.Type):
			t.Errorf("%s: nobody looks whether it is there", r.Type)
		}
	}
	return there, gone
}

// parts are what goes with the resource that it is a part of.
var parts = []string{
	"AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Url", "AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy",
	"AWS::SNS::Subscription", "AWS::Lambda::EventSourceMapping", "AWS::Events::Rule",
}

func TestDeletedStackWithAJobOfOnesOwnLeavesNothingButABucketWithData(t *testing.T) {
	t.Parallel()
	const stack = "gone"
	template, environment := ownTemplate(t)
	built, err := emulator.SAMBuild(t.TempDir(), template, environment)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		data bool
		says string
	}{
		{"empty", false, "nothing of it is left"},
		{"with data", true, "which holds data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The parameters that the stack of the other tests has not, so that these parts of the template are deployed, too; and a job
			// of one's own.
			parameters := map[string]string{
				"ShopUrl": shared.stack.shop.URL, "AlarmEmail": "alarms@example.com", "ReservedConcurrency": "2", "RepairState": "ENABLED",
				"LogtoResource": "https://default.logto.app/api",
			}
			if test.data { // which the job writes: it has to find AWS
				parameters["AwsEndpointUrl"] = shared.aws.URL
			}
			if err := shared.aws.Deploy(t.Context(), built, stack, parameters); err != nil {
				t.Fatal(err)
			}
			resources, err := shared.aws.Resources(t.Context(), stack)
			if err != nil {
				t.Fatal(err)
			}
			if _, missing := left(t, resources); len(missing) > 0 {
				t.Fatalf("not seen before the deletion: %q", missing)
			}
			outputs, err := shared.aws.Outputs(t.Context(), stack)
			if err != nil {
				t.Fatal(err)
			}
			bucket := outputs["BucketName"]
			if test.data {
				runOwnJob(t, stack)
				_, err := shared.stack.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("stats/day.json"), Body: strings.NewReader("{}")})
				if err != nil {
					t.Fatal(err)
				}
			}
			printed, err := shared.aws.Delete(t.Context(), stack)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(printed, test.says) {
				t.Errorf("it does not say %q:\n%s", test.says, printed)
			}
			var want []string
			if test.data {
				want = []string{"AWS::S3::Bucket " + bucket}
			}
			if found, _ := left(t, resources); !slices.Equal(found, want) {
				t.Errorf("left: %q, want %q", found, want)
			}
		})
	}
}
