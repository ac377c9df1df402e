package emulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The calls of IAM, CloudFormation and CloudWatch Logs are written out here: a module of the SDK for a few requests each
// would be one more dependency.

// query calls an action of a service with the query protocol, and reads its XML.
func (a *AWS) query(ctx context.Context, service, version string, form url.Values, into any) error {
	form.Set("Version", version)
	answer, err := a.call(ctx, service, []byte(form.Encode()), map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	if err != nil {
		return fmt.Errorf("%s %s: %w", service, form.Get("Action"), err)
	}
	if into == nil {
		return nil
	}
	return xml.Unmarshal(answer, into)
}

// json calls an action of a service with the JSON protocol.
func (a *AWS) json(ctx context.Context, service, target string, in, into any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := a.call(ctx, service, body, map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target})
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return json.Unmarshal(answer, into)
}

// call sends a request signed by the root user.
func (a *AWS) call(ctx context.Context, service string, body []byte, header map[string]string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	sum := sha256.Sum256(body)
	root := aws.Credentials{AccessKeyID: a.Root().ID, SecretAccessKey: a.Root().Secret}
	if err := signer.NewSigner().SignHTTP(ctx, root, req, hex.EncodeToString(sum[:]), service, Region, time.Now()); err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, nil
}

// Resource is a resource of a stack.
type Resource struct {
	LogicalID string `xml:"LogicalResourceId"`
	ID        string `xml:"PhysicalResourceId"`
	Type      string `xml:"ResourceType"`
}

const cloudFormation = "2010-05-15"

// Resources lists a stack's resources.
func (a *AWS) Resources(ctx context.Context, stack string) ([]Resource, error) {
	var answer struct {
		Resources []Resource `xml:"DescribeStackResourcesResult>StackResources>member"`
	}
	err := a.query(ctx, "cloudformation", cloudFormation, url.Values{"Action": {"DescribeStackResources"}, "StackName": {stack}}, &answer)
	return answer.Resources, err
}

// Outputs returns a stack's outputs.
func (a *AWS) Outputs(ctx context.Context, stack string) (map[string]string, error) {
	var answer struct {
		Outputs []struct {
			Key   string `xml:"OutputKey"`
			Value string `xml:"OutputValue"`
		} `xml:"DescribeStacksResult>Stacks>member>Outputs>member"`
	}
	err := a.query(ctx, "cloudformation", cloudFormation, url.Values{"Action": {"DescribeStacks"}, "StackName": {stack}}, &answer)
	outputs := map[string]string{}
	for _, o := range answer.Outputs {
		outputs[o.Key] = o.Value
	}
	return outputs, err
}

// Log returns all lines of a log group, as far as they are in CloudWatch Logs.
func (a *AWS) Log(ctx context.Context, group string) (string, error) {
	var lines strings.Builder
	for next := ""; ; {
		in := map[string]any{"logGroupName": group}
		if next != "" {
			in["nextToken"] = next
		}
		var out struct {
			Events    []struct{ Message string }
			NextToken string
		}
		if err := a.json(ctx, "logs", "Logs_20140328.FilterLogEvents", in, &out); err != nil {
			return "", err
		}
		for _, e := range out.Events {
			lines.WriteString(strings.TrimSuffix(e.Message, "\n"))
			lines.WriteByte('\n')
		}
		if next = out.NextToken; next == "" {
			return lines.String(), nil
		}
	}
}
