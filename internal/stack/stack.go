// Package stack is a deployed stack of template.yaml as the operator's command sees it: its jobs, their runs, and what
// starts them by itself.
//
//	s, err := stack.Open(ctx, "m2mjobs")
//	if err != nil {
//		return err
//	}
//	runs, err := s.Store().Runs(ctx, "daily-orders", 20)
//
// Region and credentials are those of the AWS CLI: AWS_REGION, AWS_PROFILE and the others.
package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	db "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
)

// Stack is a deployed stack. Open makes it.
type Stack struct {
	// Name is the stack's name, with which the names of its resources begin: {Name}-{job}, {Name}-runs, {Name}-continue.
	Name string
	// Config is how its account is reached, to make clients of more services with.
	Config aws.Config

	resources map[string][]string
}

// Open finds the stack of that name. Its error names the region and the profile that were looked at, and what to do.
func Open(ctx context.Context, name string) (*Stack, error) {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("stack %q: AWS configuration: %w", name, err)
	}
	if loaded.Region == "" {
		return nil, fmt.Errorf("stack %q: no region: set AWS_REGION, or AWS_PROFILE to a profile that has one", name)
	}
	return OpenWith(ctx, name, loaded)
}

// OpenWith is Open with a configuration of AWS that was loaded already.
func OpenWith(ctx context.Context, name string, loaded aws.Config) (*Stack, error) {
	s := &Stack{Name: name, Config: loaded, resources: map[string][]string{}}
	pages := cloudformation.NewListStackResourcesPaginator(cloudformation.NewFromConfig(loaded),
		&cloudformation.ListStackResourcesInput{StackName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("stack %q in %s: %s%w", name, s.place(), mend(err), err)
		}
		for _, r := range page.StackResourceSummaries {
			if kind := aws.ToString(r.ResourceType); r.ResourceStatus != types.ResourceStatusDeleteComplete {
				s.resources[kind] = append(s.resources[kind], aws.ToString(r.PhysicalResourceId))
			}
		}
	}
	return s, nil
}

// place says where the stack was looked for.
func (s *Stack) place() string {
	profile := os.Getenv("AWS_PROFILE")
	if profile == "" {
		profile = "default"
	}
	return fmt.Sprintf("%s (AWS_PROFILE %s)", s.Config.Region, profile)
}

// mend says what to do about the errors that a wrong name or account meets.
func mend(err error) string {
	api := smithy.APIError(nil)
	switch {
	case !errors.As(err, &api):
		return "no answer; `aws sts get-caller-identity` shows whether the credentials are right: "
	case api.ErrorCode() == "ValidationError" && strings.Contains(api.ErrorMessage(), "does not exist"):
		return "there is none; give the name it was deployed with as --stack, and its place by AWS_REGION and AWS_PROFILE: "
	case strings.HasPrefix(api.ErrorCode(), "AccessDenied"):
		return "these credentials need cloudformation:ListStackResources on it: "
	}
	return ""
}

// Resources are the physical ids of the stack's resources of a CloudFormation type, as "AWS::Lambda::Function". That is a
// name for most, and an address for a queue.
func (s *Stack) Resources(kind string) []string { return s.resources[kind] }

// Jobs are the jobs that the stack has a function of, {stack}-{job}, sorted.
func (s *Stack) Jobs() []string {
	var all []string
	for _, function := range s.Resources("AWS::Lambda::Function") {
		if job, ours := strings.CutPrefix(function, s.Name+"-"); ours {
			all = append(all, job)
		}
	}
	slices.Sort(all)
	return all
}

// Function is the name of a job's function. The error, if there is no such job, names those there are.
func (s *Stack) Function(job string) (string, error) {
	if all := s.Jobs(); !slices.Contains(all, job) {
		return "", fmt.Errorf("stack %q has no job %q: it has %s", s.Name, job, strings.Join(all, ", "))
	}
	return s.Name + "-" + job, nil
}

// Store has the runs of the stack's jobs.
func (s *Stack) Store() jobs.Store {
	return dynamodb.New(s.table(), func(context.Context) (dynamodb.Client, error) { return db.NewFromConfig(s.Config), nil })
}

func (s *Stack) table() string { return s.Name + "-runs" }
