package dynamodb

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// The attributes of the keys, and what stands before a name in them.
const (
	attrPK  = "pk"
	attrSK  = "sk"
	index   = "gsi1"
	indexPK = "gsi1pk"
	indexSK = "gsi1sk"

	slotPrefix  = "slot#"  // a slot's newest run
	runPrefix   = "run#"   // where a run is, or the run itself once its slot has a newer one
	groupPrefix = "group#" // who is in a group
	sharePrefix = "share#" // who has a share of a budget
	jobPrefix   = "job#"   // that a job is paused; in the index: a job's runs
)

func slotKey(slot string) item { return item{attrPK: text(slotPrefix + slot), attrSK: text("slot")} }
func runKey(id string) item    { return item{attrPK: text(runPrefix + id), attrSK: text("run")} }
func groupKey(g string) item   { return item{attrPK: text(groupPrefix + g), attrSK: text("group")} }
func shareKey(b string) item   { return item{attrPK: text(sharePrefix + b), attrSK: text("share")} }

// pauseKey is one of the items that say that a job is paused. A claim looks at one of them in its transaction, and of
// transactions on the same item one excludes the other: with one item alone a job's claims would come one by one.
func pauseKey(job string, shard uint32) item {
	return item{attrPK: text(jobPrefix + job), attrSK: text(fmt.Sprintf("paused#%02d", shard))}
}

const pauseShards = 16

// kept is a record as it stands in the table.
type kept struct {
	jobs.Record
	version int64 // grows with every write
}

// fields are a record's attributes without what it carries.
func fields(r jobs.Record) item {
	it := item{
		attrSlot: text(r.Slot), attrJob: text(r.Job), attrRunID: text(r.RunID), attrOwner: text(r.Owner),
		attrState: text(string(r.State)), attrAttempt: number(int64(r.Attempt)), attrFence: number(r.Fence),
		attrUntil: instant(r.Until), attrStarted: instant(r.Started), attrUpdated: instant(r.Updated),
	}
	if r.Group != "" {
		it[attrGroup] = text(r.Group)
	}
	if r.Cancelling {
		it[attrCancelling] = &types.AttributeValueMemberBOOL{Value: true}
	}
	return it
}

func (r *reader) record() jobs.Record {
	return jobs.Record{
		Slot: r.text(attrSlot), Job: r.text(attrJob), RunID: r.text(attrRunID), Owner: r.text(attrOwner),
		State: jobs.State(r.text(attrState)), Attempt: int(r.number(attrAttempt)), Fence: r.number(attrFence),
		Until: r.time(attrUntil), Started: r.time(attrStarted), Updated: r.time(attrUpdated),
		Group: r.optional(attrGroup), Cancelling: r.item[attrCancelling] != nil,
	}
}

// encode is the item of a record under a key. The index lists it among its job's runs.
func (s *Store) encode(key item, k kept) (item, error) {
	it := fields(k.Record)
	maps.Copy(it, key)
	it[attrVersion], it[attrExpires] = number(k.version), s.expires(k.Updated)
	it[indexPK] = text(jobPrefix + k.Job)
	it[indexSK] = text(k.Started.UTC().Format(timeLayout) + "#" + k.RunID)
	for name, data := range map[string]json.RawMessage{attrTrigger: k.Trigger, attrCheckpoint: k.Checkpoint, attrReport: k.Report} {
		if data == nil {
			continue
		}
		value, err := pack(name, k.Slot, data)
		if err != nil {
			return nil, err
		}
		it[name] = value
	}
	return it, nil
}

// decode reads a record.
func decode(it item) (*kept, error) {
	read := &reader{item: it}
	k := &kept{Record: read.record(), version: read.number(attrVersion)}
	k.Trigger, k.Checkpoint, k.Report = read.payload(attrTrigger), read.payload(attrCheckpoint), read.payload(attrReport)
	if read.err != nil {
		return nil, fmt.Errorf("reading the item of slot %q: another version's? %w", k.Slot, read.err)
	}
	return k, nil
}

// expires is when an item that was changed at that time is removed by the table's TTL.
func (s *Store) expires(updated time.Time) types.AttributeValue {
	ttl := s.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	return number(updated.Add(ttl).Unix())
}

// group is what a group's item says: the slots of it that are not over. Of each it has what decides, without what the
// run carries.
type group struct {
	slots   []jobs.Record
	version int64
}

// others are the slots of a group; none if g is nil.
func (g *group) others() []jobs.Record {
	if g == nil {
		return nil
	}
	return g.slots
}

func decodeGroup(it item) (*group, error) {
	read := &reader{item: it}
	g := &group{version: read.number(attrVersion)}
	members, ok := it[attrMembers].(*types.AttributeValueMemberM)
	if !ok {
		return nil, fmt.Errorf("reading a group: attribute %s is a %T", attrMembers, it[attrMembers])
	}
	for _, value := range members.Value {
		member, ok := value.(*types.AttributeValueMemberM)
		if !ok {
			return nil, fmt.Errorf("reading a group: a member is a %T", value)
		}
		inner := &reader{item: member.Value}
		g.slots = append(g.slots, inner.record())
		read.err = firstOf(read.err, inner.err)
	}
	if read.err != nil {
		return nil, fmt.Errorf("reading a group: another version's? %w", read.err)
	}
	return g, nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
