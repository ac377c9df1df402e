package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// DeadLetterQueue is a queue of what a job did not do after all attempts.
type DeadLetterQueue struct {
	Name string
	Job  string

	url string
	// source is the address of the queue that it takes dead letters of; empty: it takes what Lambda, EventBridge and Scheduler
	// gave up.
	source string
}

// DeadLetterQueues are a job's: {stack}-{job}-failed, and the dead-letter queues of the queues that it reads.
func (s *Stack) DeadLetterQueues(ctx context.Context, job string) ([]DeadLetterQueue, error) {
	function, err := s.Function(job)
	if err != nil {
		return nil, err
	}
	var found []DeadLetterQueue
	if url := s.queueURL(function + "-failed"); url != "" {
		found = append(found, DeadLetterQueue{Name: function + "-failed", Job: job, url: url})
	}
	mappings := lambda.NewListEventSourceMappingsPaginator(lambda.NewFromConfig(s.Config), &lambda.ListEventSourceMappingsInput{FunctionName: &function})
	for mappings.HasMorePages() {
		page, err := mappings.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the queues of function %s: %w", function, err)
		}
		for _, mapping := range page.EventSourceMappings {
			source := s.queueURL(lastPart(aws.ToString(mapping.EventSourceArn)))
			if source == "" {
				continue
			}
			name, err := s.deadLettersOf(ctx, source)
			if err != nil {
				return nil, err
			}
			if url := s.queueURL(name); url != "" {
				found = append(found, DeadLetterQueue{Name: name, Job: job, url: url, source: source})
			}
		}
	}
	return found, nil
}

// queueURL is the address of one of the stack's queues; empty if it has none of that name.
func (s *Stack) queueURL(name string) string {
	all := s.Resources("AWS::SQS::Queue")
	if i := slices.IndexFunc(all, func(url string) bool { return strings.HasSuffix(url, "/"+name) }); i >= 0 {
		return all[i]
	}
	return ""
}

// deadLettersOf is the name of the dead-letter queue of a queue; empty if it has none.
func (s *Stack) deadLettersOf(ctx context.Context, url string) (string, error) {
	out, err := sqs.NewFromConfig(s.Config).GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
	})
	if err != nil {
		return "", fmt.Errorf("queue %s: %w", url, err)
	}
	var policy struct{ DeadLetterTargetArn string }
	text := out.Attributes[string(types.QueueAttributeNameRedrivePolicy)]
	if text == "" {
		return "", nil
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		return "", fmt.Errorf("queue %s: its redrive policy: %w", url, err)
	}
	return lastPart(policy.DeadLetterTargetArn), nil
}
