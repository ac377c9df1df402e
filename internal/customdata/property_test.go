package customdata_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// values draws JSON values that Logto keeps as they are.
func values(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.StringMatching(`[a-zäß "\\<&\n😀]{0,6}`), func(s string) any { return s }),
		rapid.Map(rapid.Int64Range(-(1<<53)+1, 1<<53-1), func(n int64) any { return json.Number(fmt.Sprint(n)) }),
		rapid.Map(rapid.SampledFrom([]string{"1.0", "1e0", "0.1", "-2.50", "1e21", "0", "-0"}), func(s string) any { return json.Number(s) }),
	)
	if depth == 0 {
		return leaf
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return values(depth - 1) })
	return rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(inner, 0, 3), func(list []any) any { return list }),
		rapid.Map(rapid.MapOfN(keys, inner, 0, 3), func(m object) any { return m }),
	)
}

var keys = rapid.SampledFrom([]string{"a", "b", "c", "orders", "ä", "a.b", ""})

func documents() *rapid.Generator[object] { return rapid.MapOfN(keys, values(2), 0, 4) }

func TestAfterASyncEveryUserHasTheMergeOfItsRowsAndAnotherSyncChangesNothing(t *testing.T) {
	s := newStage(t)
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		want := map[string]object{}
		for i := range 3 {
			user := fmt.Sprintf("r%d-%d", round, i)
			want[user] = documents().Draw(t, "stored")
			s.tenant.AddUser(logtotest.User{ID: user, PrimaryEmail: user + "@example.com", CustomData: want[user]})
		}
		users := slices.Sorted(maps.Keys(want))
		var lines []string
		final := map[string]string{} // a row that says of each user what it has in the end
		for range rapid.IntRange(1, 8).Draw(t, "rows") {
			user := rapid.SampledFrom(users).Draw(t, "user")
			row := object{"customData": documents().Draw(t, "data")}
			if rapid.Bool().Draw(t, "by e-mail") {
				row["primaryEmail"] = strings.ToUpper(user) + "@example.com"
			} else {
				row["id"] = user
			}
			merged := maps.Clone(want[user])
			maps.Copy(merged, row["customData"].(object))
			remove := []string{}
			for _, key := range rapid.SliceOfN(keys, 0, 2).Draw(t, "remove") {
				if _, written := row["customData"].(object)[key]; !written && key != "" {
					remove = append(remove, key)
					delete(merged, key)
				}
			}
			row["remove"] = remove
			want[user] = merged
			lines = append(lines, text(t, row))
			final[user] = text(t, object{"id": user, "customData": merged})
		}
		report := s.sync(rows(lines...))
		if report.Counts["changed"]+report.Counts["unchanged"] != int64(len(lines)) {
			t.Fatalf("counts %v, rows %s", report.Counts, lines)
		}
		for user, data := range want {
			if stored := s.tenant.CustomData(user); !logto.EqualData(data, stored) {
				t.Fatalf("%s has %v, want %v, rows %s", user, stored, data, lines)
			}
		}
		writes := s.tenant.Requests(merge) + s.tenant.Requests(replace)
		again := s.sync(rows(slices.Sorted(maps.Values(final))...))
		if again.Counts["unchanged"] != int64(len(final)) || s.tenant.Requests(merge)+s.tenant.Requests(replace) != writes {
			t.Fatalf("again: counts %v, rows %s", again.Counts, lines)
		}
	})
}

func text(t *rapid.T, v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
