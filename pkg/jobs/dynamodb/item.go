package dynamodb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is what DynamoDB keeps under one key.
type item = map[string]types.AttributeValue

// The attributes of items, besides those of the key and the index.
const (
	attrSlot       = "slot"
	attrJob        = "job"
	attrRunID      = "runId"
	attrOwner      = "owner"
	attrState      = "state"
	attrAttempt    = "attempt"
	attrFence      = "fence"
	attrUntil      = "until"
	attrStarted    = "started"
	attrUpdated    = "updated"
	attrTrigger    = "trigger"
	attrCheckpoint = "checkpoint"
	attrReport     = "report"
	attrGroup      = "group"
	attrCancelling = "cancelling"
	attrMembers    = "members" // of a group, by slot
	attrPart       = "part"    // of a budget, by owner
	attrMark       = "mark"    // of a budget: another with every write
	attrVersion    = "version" // grows with every write of the item
	attrExpires    = "expires" // seconds since 1970, for the table's TTL
)

// limitOf is what an item may hold of each payload, as it is stored. DynamoDB takes 400 KB an item: together they always
// fit, so that a run that could be claimed can also be finished.
func limitOf(name string) (bytes int, mend string) {
	switch name {
	case attrTrigger:
		return 160 << 10, "put the rows into a file and give the file's name in the params"
	case attrCheckpoint:
		return 160 << 10, "keep a cursor in it, not rows"
	}
	return 64 << 10, "write the result to a file and report the file's name"
}

// plainLimit is how large a payload is stored as it is, to be read in the console. DynamoDB bills each KB written.
const plainLimit = 4 << 10

// timeLayout sorts as the times do.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func instant(t time.Time) types.AttributeValue { return text(t.UTC().Format(timeLayout)) }

// pack stores JSON: as text, or compressed if it is long.
func pack(name, slot string, data json.RawMessage) (types.AttributeValue, error) {
	if len(data) <= plainLimit && utf8.Valid(data) {
		return text(string(data)), nil
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if limit, mend := limitOf(name); packed.Len() > limit {
		return nil, fmt.Errorf("the %s of slot %q takes %d KB compressed, and at most %d KB of one can be kept in DynamoDB: %s",
			name, slot, packed.Len()>>10, limit>>10, mend)
	}
	return &types.AttributeValueMemberB{Value: packed.Bytes()}, nil
}

// reader reads attributes and remembers the first that is wrong.
type reader struct {
	item item
	err  error
}

func (r *reader) wrong(name string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("attribute %s: %w", name, err)
	}
}

func (r *reader) text(name string) string {
	if s, ok := r.item[name].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	r.wrong(name, fmt.Errorf("found %T where text is wanted", r.item[name]))
	return ""
}

func (r *reader) number(name string) int64 {
	n, ok := r.item[name].(*types.AttributeValueMemberN)
	if !ok {
		r.wrong(name, fmt.Errorf("found %T where a number is wanted", r.item[name]))
		return 0
	}
	value, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		r.wrong(name, err)
	}
	return value
}

func (r *reader) time(name string) time.Time {
	at, err := time.Parse(timeLayout, r.text(name))
	if err != nil {
		r.wrong(name, err)
	}
	return at
}

// optional is text that may be missing.
func (r *reader) optional(name string) string {
	if r.item[name] == nil {
		return ""
	}
	return r.text(name)
}

func (r *reader) payload(name string) json.RawMessage {
	switch v := r.item[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberS:
		return json.RawMessage(v.Value)
	case *types.AttributeValueMemberB:
		unpacked, err := gzip.NewReader(bytes.NewReader(v.Value))
		if err != nil {
			r.wrong(name, err)
			return nil
		}
		data, err := io.ReadAll(unpacked)
		if err != nil {
			r.wrong(name, err)
		}
		return data
	default:
		r.wrong(name, fmt.Errorf("found %T where text or bytes are wanted", v))
		return nil
	}
}
