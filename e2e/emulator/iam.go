package emulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

const iam = "2010-05-08"

// NewUser makes an IAM user who may do what the policy document allows, and returns an access key.
func (a *AWS) NewUser(ctx context.Context, name, policy string) (Key, error) {
	for _, form := range []url.Values{
		{"Action": {"CreateUser"}, "UserName": {name}},
		{"Action": {"PutUserPolicy"}, "UserName": {name}, "PolicyName": {name}, "PolicyDocument": {policy}},
	} {
		if err := a.query(ctx, "iam", iam, form, nil); err != nil {
			return Key{}, err
		}
	}
	var created struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	err := a.query(ctx, "iam", iam, url.Values{"Action": {"CreateAccessKey"}, "UserName": {name}}, &created)
	if err == nil && created.ID == "" {
		err = fmt.Errorf("IAM made no access key for %s", name)
	}
	return Key{created.ID, created.Secret}, err
}

// Statement is one statement of a policy.
type Statement struct {
	Sid       string
	Effect    string
	Action    OneOrMore
	Resource  OneOrMore
	Principal any `json:",omitempty"`
	Condition any `json:",omitempty"`
}

// Policy is a policy document.
type Policy struct {
	Version   string
	Statement []Statement
}

// OneOrMore is a list that JSON may have as a single text.
type OneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *OneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*l = OneOrMore{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

// RolePolicy reads a policy of a role.
func (a *AWS) RolePolicy(ctx context.Context, role, policy string) (Policy, error) {
	var answer struct {
		Document string `xml:"GetRolePolicyResult>PolicyDocument"`
	}
	form := url.Values{"Action": {"GetRolePolicy"}, "RoleName": {role}, "PolicyName": {policy}}
	if err := a.query(ctx, "iam", iam, form, &answer); err != nil {
		return Policy{}, err
	}
	document, err := url.QueryUnescape(answer.Document)
	if err != nil {
		return Policy{}, err
	}
	var p Policy
	return p, json.Unmarshal([]byte(document), &p)
}

// SetRolePolicy replaces a policy of a role.
func (a *AWS) SetRolePolicy(ctx context.Context, role, policy string, p Policy) error {
	document, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return a.query(ctx, "iam", iam, url.Values{
		"Action": {"PutRolePolicy"}, "RoleName": {role}, "PolicyName": {policy}, "PolicyDocument": {string(document)},
	}, nil)
}
