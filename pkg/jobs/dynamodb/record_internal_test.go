package dynamodb

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestARecordComesBackAsItWasStored(t *testing.T) {
	store := New("table", nil)
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.Custom(func(t *rapid.T) time.Time {
			return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).UTC()
		})
		payload := rapid.Custom(func(t *rapid.T) json.RawMessage {
			if rapid.Bool().Draw(t, "none") {
				return nil
			}
			bytes := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "bytes")
			return json.RawMessage(strings.Repeat(string(bytes)+"x", rapid.IntRange(1, 300).Draw(t, "times")))
		})
		want := kept{
			Record: jobs.Record{
				Slot: rapid.String().Draw(t, "slot"), Job: rapid.String().Draw(t, "job"), RunID: rapid.String().Draw(t, "run"),
				Owner: rapid.String().Draw(t, "owner"), State: jobs.State(rapid.String().Draw(t, "state")),
				Attempt: rapid.Int().Draw(t, "attempt"), Fence: rapid.Int64().Draw(t, "fence"),
				Until: moment.Draw(t, "until"), Started: moment.Draw(t, "started"), Updated: moment.Draw(t, "updated"),
				Trigger: payload.Draw(t, "trigger"), Checkpoint: payload.Draw(t, "checkpoint"), Report: payload.Draw(t, "report"),
				Group: rapid.String().Draw(t, "group"), Cancelling: rapid.Bool().Draw(t, "cancelling"),
			},
			version: rapid.Int64().Draw(t, "version"),
		}
		stored, err := store.encode(slotKey(want.Slot), want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(kept{})); diff != "" {
			t.Errorf("record (-stored +read):\n%s", diff)
		}
	})
}

func TestTimesSortAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, "a"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos of a"))
		b := time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, "b"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos of b"))
		if strings.Compare(a.UTC().Format(timeLayout), b.UTC().Format(timeLayout)) != a.Compare(b) {
			t.Errorf("%v and %v", a, b)
		}
	})
}
