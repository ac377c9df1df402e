//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
)

// wildcards are those that the template may have, with why.
var wildcards = map[string]string{
	"DailyOrdersRole ReadOwnSecret ${AWS::StackName}/daily-orders-??????":                                                                     "Secrets Manager adds six characters to the name that the template gives",
	"SyncCustomDataRole ReadOwnSecret ${AWS::StackName}/sync-custom-data-??????":                                                              "the same",
	"LogtoWebhookRole ReadOwnSecret ${AWS::StackName}/logto-webhook-??????":                                                                   "the same",
	"LogtoWebhookRole ReadSigningKey ${AWS::StackName}/signing-key-??????":                                                                    "the same",
	"RotateSecretRole RotateSecrets ${AWS::StackName}/rotate-secret-??????":                                                                   "the same",
	"RotateSecretRole RotateSecrets ${AWS::StackName}/sync-custom-data-??????":                                                                "the same",
	"RotateSecretRole RotateSecrets ${AWS::StackName}/daily-orders-??????":                                                                    "the same",
	"RotateSecretRole RotateSecrets ${AWS::StackName}/logto-webhook-??????":                                                                   "the same",
	"DailyOrdersRole WriteResults ${Bucket.Arn}/stats/*":                                                                                      "a file a day",
	"DailyOrdersRole WriteResults ${Bucket.Arn}/customers/*":                                                                                  "a file a day",
	"DailyOrdersRole WriteResults ${Bucket.Arn}/rejected/*":                                                                                   "files by the run's id",
	"SyncCustomDataRole ReadRows ${Bucket.Arn}/customers/*":                                                                                   "a file a day",
	"SyncCustomDataRole KeepRejectedRows ${Bucket.Arn}/rejected/*":                                                                            "files by the run's id",
	"SyncCustomDataRole KeepWhatWasThere ${Bucket.Arn}/undo/*":                                                                                "files by the run's id",
	"SyncCustomDataRole ReadRows ${Bucket.Arn}/plans/*":                                                                                       "files by the run's id",
	"SyncCustomDataRole ReadRows ${Bucket.Arn}/undo/*":                                                                                        "files by the run's id",
	"SyncCustomDataRole DropPlans ${Bucket.Arn}/plans/*":                                                                                      "the same",
	"SyncCustomDataRole KeepPlans ${Bucket.Arn}/plans/*":                                                                                      "files by the run's id",
	"SyncCustomDataRole LookAtContinued arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-continue:*": "executions by the run's id",
	"BackfillRole FollowBatches arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-backfill:*":         "executions by a name with the time, as AWS's guide has it for a Distributed Map",
	"BackfillRole FollowBatches arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-backfill/slots:*":   "child executions by a random name",
	"BucketPolicy OnlyOverTLS s3:*":                                                                                                           "it denies",
	"BucketPolicy OnlyOverTLS ${Bucket.Arn}/*":                                                                                                "it denies",
	"BucketPolicy OnlyOverTLS principal *":                                                                                                    "it denies",
	"LogtoWebhookFunctionUrlPublicPermissions principal *":                                                                                    "Logto signs its requests, but not as AWS does",
	"LogtoWebhookFunctionURLInvokeAllowPublicAccess principal *":                                                                              "the same; only by the function URL",
}

// granted is a statement of the template, with the texts of its intrinsic functions.
type granted struct {
	where              string // the resource, and the statement's Sid if it has one
	actions, resources []string
	principals         []string
	managed            []string // policies of AWS's own
	negated            bool     // by NotAction or the like
}

// grants reads all that the template lets anybody do.
func grants(template []byte) ([]granted, error) {
	var t struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(template, &t); err != nil {
		return nil, err
	}
	var all []granted
	document := func(id string, policy any) {
		for _, s := range policy.(map[string]any)["Statement"].([]any) {
			statement := s.(map[string]any)
			g := granted{where: id, actions: texts(statement["Action"]), resources: texts(statement["Resource"])}
			if sid, ok := statement["Sid"].(string); ok {
				g.where += " " + sid
			}
			if who, ok := statement["Principal"].(map[string]any); ok {
				for _, one := range who {
					g.principals = append(g.principals, texts(one)...)
				}
			} else {
				g.principals = texts(statement["Principal"])
			}
			for key := range statement {
				g.negated = g.negated || strings.HasPrefix(key, "Not")
			}
			all = append(all, g)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		r := t.Resources[id]
		switch r.Type {
		case "AWS::IAM::Role":
			document(id, r.Properties["AssumeRolePolicyDocument"])
			all = append(all, granted{where: id, managed: texts(r.Properties["ManagedPolicyArns"])})
			for _, p := range r.Properties["Policies"].([]any) {
				document(id, p.(map[string]any)["PolicyDocument"])
			}
		case "AWS::Lambda::Permission":
			all = append(all, granted{where: id, actions: texts(r.Properties["Action"]), principals: texts(r.Properties["Principal"])})
		default:
			if strings.HasPrefix(r.Type, "AWS::IAM::") {
				return nil, fmt.Errorf("%s: policies stand in roles, where this test reads them", id)
			}
			if policy, ok := r.Properties["PolicyDocument"]; ok {
				document(id, policy)
			}
		}
	}
	return all, nil
}

// texts are the texts of a value of a template, which may be one or a list.
func texts(value any) []string {
	switch v := value.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, one := range v {
			list = append(list, texts(one)...)
		}
		return list
	case map[string]any:
		if sub, ok := v["Fn::Sub"].(string); ok {
			return []string{sub}
		}
		if name, ok := v["Ref"].(string); ok {
			return []string{"${" + name + "}"}
		}
		if path, ok := v["Fn::GetAtt"]; ok {
			return []string{"${" + strings.Join(texts(path), ".") + "}"}
		}
	}
	return []string{fmt.Sprintf("*unknown: %v", value)}
}

// wild are the wildcards of what is granted, as the list names them.
func wild(all []granted) []string {
	var found []string
	for _, g := range all {
		for _, value := range append(slices.Clone(g.actions), g.resources...) {
			if strings.ContainsAny(value, "*?") {
				if _, name, isSecret := strings.Cut(value, ":secret:"); isSecret {
					value = name
				}
				found = append(found, g.where+" "+value)
			}
		}
		for _, value := range g.principals {
			if strings.ContainsAny(value, "*?") {
				found = append(found, g.where+" principal "+value)
			}
		}
		for _, value := range g.managed {
			found = append(found, g.where+" managed policy "+value)
		}
		if g.negated {
			found = append(found, g.where+" says what is not meant")
		}
	}
	return found
}

func TestTemplateGrantsNothingByAWildcardThatHasNoReason(t *testing.T) {
	t.Parallel()
	template, err := emulator.Transformed()
	if err != nil {
		t.Fatal(err)
	}
	all, err := grants(template)
	if err != nil {
		t.Fatal(err)
	}
	found := wild(all)
	for _, one := range found {
		if wildcards[one] == "" {
			t.Errorf("%s: a wildcard that is not on the list: name the single resource, or put it there with a reason", one)
		}
	}
	for _, one := range slices.Sorted(maps.Keys(wildcards)) {
		if !slices.Contains(found, one) {
			t.Errorf("%s: on the list, and not in the template", one)
		}
	}
}

func TestWildcardsAreSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ statement, want string }{
		"action":            {`{"Sid":"S","Action":"s3:*","Resource":"arn"}`, "R S s3:*"},
		"one of actions":    {`{"Action":["s3:GetObject","s3:Put*"],"Resource":"arn"}`, "R s3:Put*"},
		"resource":          {`{"Action":"s3:GetObject","Resource":"*"}`, "R *"},
		"one of resources":  {`{"Action":"s3:GetObject","Resource":["arn",{"Fn::Sub":"${B.Arn}/*"}]}`, "R ${B.Arn}/*"},
		"what is not meant": {`{"NotAction":"s3:GetObject","Resource":"arn"}`, "R says what is not meant"},
		"anything else":     {`{"Action":"s3:GetObject","Resource":{"Fn::Join":["",["*"]]}}`, "R *unknown: map[Fn::Join:[ [*]]]"},
		"secret":            {`{"Action":"a","Resource":"arn:x:secret:name-*"}`, "R name-*"},
		"none":              {`{"Action":"s3:GetObject","Resource":{"Fn::GetAtt":["B","Arn"]}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := grants([]byte(`{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{"Statement":[]},` +
				`"Policies":[{"PolicyDocument":{"Statement":[` + test.statement + `]}}]}}}}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(wild(all), "\n"); got != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}
