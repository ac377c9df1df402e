package rotation

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The labels of versions that matter here. They are Secrets Manager's.
const (
	Current = "AWSCURRENT" // what is read by those who use the secret
	Pending = "AWSPENDING" // a rotation is under way
)

// Place is where an app's credentials are kept: a text {"endpoint","appId","appSecret"} with versions, one of which is
// current. SecretsManager and File make one.
type Place interface {
	// State reads what versions there are.
	State(context.Context) (State, error)
	// Read reads a version. One that was announced and has no text yet is ErrNoValue.
	Read(ctx context.Context, version string) ([]byte, error)
	// Put makes the text a version that is labelled Pending.
	Put(ctx context.Context, version string, text []byte) error
	// Promote moves the label Current from one version to another.
	Promote(ctx context.Context, version, from string) error
	// Settle takes the label Pending from a version.
	Settle(ctx context.Context, version string) error
}

// ErrNoValue says that a version has no text: Secrets Manager announces a version before the first step of its rotation.
var ErrNoValue = errors.New("this version has no value yet")

// State is what a place has, without the secrets.
type State struct {
	Name     string // for people: the secret's name, or the file's path
	ID       string // what tells the place from every other: an ARN, or host and path
	Versions []Version
	Changed  time.Time // the last change of whatever kind
}

// Version is one of a place's versions.
type Version struct {
	ID      string
	Labels  []string
	Created time.Time // zero: unknown
}

// labelled finds the version with that label. Empty: there is none.
func (s State) labelled(label string) string {
	for _, v := range s.Versions {
		if slices.Contains(v.Labels, label) {
			return v.ID
		}
	}
	return ""
}

// pending is the version of a rotation under way. Empty: there is none.
func (s State) pending() string {
	if p := s.labelled(Pending); p != s.labelled(Current) {
		return p
	}
	return ""
}

// longestName leaves room for a version in the 256 characters of a secret's name (Management API, POST
// /api/applications/{id}/secrets).
const longestName = 150

// prefix begins the names of all secrets in Logto that are made for this place and for no other: what made it, for which
// place, and eight digits that tell places of the same name apart, in two accounts for example.
func (s State) prefix() string {
	name := strings.TrimLeft(s.Name[max(0, len(s.Name)-longestName):], "/")
	label := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, name)
	digest := sha256.Sum256([]byte(s.ID))
	return fmt.Sprintf("m2mjobs-%s-%x-", label, digest[:4])
}

// secretName is what a version's secret is called in Logto.
func (s State) secretName(version string) string { return s.prefix() + version }

// replaced is a text of credentials with another value of a field, and all else as it is.
func replaced(text []byte, field, value string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil { // the decoder's error may quote the secret
		return nil, errors.New("the credentials are not a JSON object")
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	for name := range fields { // the decoder that reads it takes upper and lower case for the same
		if strings.EqualFold(name, field) {
			delete(fields, name)
		}
	}
	fields[field] = quoted
	return json.Marshal(fields)
}
