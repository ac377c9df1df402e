package logto_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

func TestCheckCustomData(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	tests := []struct {
		name string
		data map[string]any
		want string // the error's text; empty: none
	}{
		{"nothing", nil, ""},
		{"all types", map[string]any{"a": nil, "b": true, "c": "é🚀", "d": []any{1, int64(2), uint8(3), 1.5, n("0.1")}, "e": map[string]any{}}, ""},
		{"the largest safe integer", map[string]any{"a": n("9007199254740992"), "b": n("-9007199254740992")}, ""},
		{"an even integer past it keeps its digits", map[string]any{"a": n("9007199254740994")}, ""},
		{"an odd one does not", map[string]any{"a": n("9007199254740993")},
			"custom data at a: the number has more digits than a JavaScript number keeps: send it as a string"},
		{"a Go integer past it", map[string]any{"a": int64(math.MaxInt64)},
			"custom data at a: the number has more digits than a JavaScript number keeps: send it as a string"},
		{"recorded", map[string]any{"big": n("12345678901234567890")},
			"custom data at big: the number has more digits than a JavaScript number keeps: send it as a string"},
		{"other spellings", map[string]any{"a": n("1.50"), "b": n("15e-1"), "c": n("1E+2"), "d": n("-0"), "e": n("0.000"), "f": n("100000000000000000000000")}, ""},
		{"too many decimals", map[string]any{"a": n("0.1000000000000000055511151231257827")},
			"custom data at a: the number has more digits than a JavaScript number keeps: send it as a string"},
		{"too large", map[string]any{"a": n("1e309")},
			"custom data at a: the number is too large for JavaScript, which would store null: send it as a string"},
		{"too small", map[string]any{"a": n("1e-400")},
			"custom data at a: the number has more digits than a JavaScript number keeps: send it as a string"},
		{"a monstrous exponent costs nothing", map[string]any{"a": n("1e-99999999999999999999")},
			"custom data at a: the number has more digits than a JavaScript number keeps: send it as a string"},
		{"zero with one", map[string]any{"a": n("0e99999999999999999999")}, ""},
		{"not a number", map[string]any{"a": n("0x10")}, `custom data at a: is not a JSON number`},
		{"infinite", map[string]any{"a": math.Inf(1)}, `custom data at a: is not a JSON number`},
		{"NUL in a text", map[string]any{"a": map[string]any{"b": []any{"x", "a\x00b"}}},
			"custom data at a.b[1]: the text has a NUL character (U+0000), which Logto answers with 500: remove it"},
		{"NUL in a key", map[string]any{"o": map[string]any{"a\x00b": 1}},
			`custom data at o: the key "a\x00b" has a NUL character (U+0000), which Logto answers with 500: remove it`},
		{"invalid UTF-8", map[string]any{"a": "\xff"}, "custom data at a: the text has invalid UTF-8: convert it to UTF-8"},
		{"half a surrogate pair in UTF-8", map[string]any{"a": "\xed\xa0\x80"}, "custom data at a: the text has invalid UTF-8: convert it to UTF-8"},
		{"a struct", map[string]any{"a": struct{}{}},
			"custom data at a: a Go value of type struct {} is not JSON: use map[string]any, []any, string, bool, nil or a number"},
		{"too large a body", map[string]any{"a": strings.Repeat("x", logto.MaxBody)},
			"custom data: 1048599 bytes as JSON, Logto takes 1048576: keep less in custom data"},
		{"too deep", map[string]any{"a": nested(1000)}, "custom data at a" + strings.Repeat("[0]", 99) + "[0…: nested deeper than 1000"},
		{"just not too deep", map[string]any{"a": nested(999)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := logto.CheckCustomData(tt.data)
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			var refused *logto.DataError
			if err != nil && !errors.As(err, &refused) {
				t.Errorf("%T is not a *DataError", err)
			}
		})
	}
}

// nested is an array in an array, so many deep.
func nested(depth int) any {
	var v any = "x"
	for range depth {
		v = []any{v}
	}
	return v
}

func TestParseCustomData(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"a": 12345678901234567890, "b": [1.0]}`, ""},
		{`{"a": 1, "a": 2}`, ""},
		{`{"a": "\ud83d\ude80 \u0000 \\ud83d"}`, ""},
		{"\n {} \n", ""},
		{`{"a": "\ud83d"}`, "custom data: half a surrogate pair at byte 7: the text was cut inside a character"},
		{`{"a": "\ud83d\u0041"}`, "custom data: half a surrogate pair at byte 7: the text was cut inside a character"},
		{`{"\uDE80": 1}`, "custom data: half a surrogate pair at byte 2: the text was cut inside a character"},
		{"{\"a\": \"\xff\"}", "custom data: invalid UTF-8: convert it to UTF-8"},
		{`null`, "custom data: is null, not a JSON object"},
		{`[1]`, "custom data: is a JSON array, not an object"},
		{`"x"`, "custom data: is a JSON string, not an object"},
		{``, "custom data: not JSON: it ends too early"},
		{`{"a"`, "custom data: not JSON: it ends too early"},
		{`{"a": nil}`, "custom data: not JSON, at byte 8"},
		{`{} {}`, "custom data: more text after the JSON object, at byte 4"},
		{`{"a": ` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, "custom data: nested deeper than 1000"},
		{`{"a": ` + strings.Repeat("[", 999) + strings.Repeat("]", 999) + `}`, ""},
		{`{"a": "` + strings.Repeat("[", 2000) + `\"["}`, ""},
	}
	for _, tt := range tests {
		_, err := logto.ParseCustomData([]byte(tt.in))
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%.60s\ngot  %v\nwant %s", tt.in, err, tt.want)
		}
	}
	data, err := logto.ParseCustomData([]byte(`{"a": 1, "n": 12345678901234567890, "a": 2.50}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"a": json.Number("2.50"), "n": json.Number("12345678901234567890")}, data); diff != "" {
		t.Error(diff)
	}
}

func TestEqualData(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	obj := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			k, ok := kv[i].(string)
			if !ok {
				t.Fatal("a key that is no string")
			}
			m[k] = kv[i+1]
		}
		return m
	}
	tests := []struct {
		a, b any
		want bool
	}{
		{n("1"), n("1.0"), true}, {n("1"), n("1e0"), true}, {n("100"), 1e2, true}, {3, 3.0, true}, {int8(-1), uint64(1), false},
		{n("-0"), 0, true}, {n("0e5"), n("0.00"), true}, {n("1e400"), n("10e399"), true},
		{n("9007199254740993"), n("9007199254740992"), false}, {n("9007199254740993"), float64(1 << 53), false},
		{n("1e99999999999999999999"), n("1e99999999999999999998"), false},
		{n("10e99999999999999999998"), n("1e99999999999999999999"), true},
		{n("0.1"), 0.1, true}, {n("1"), "1", false}, {n("1"), true, false}, {nil, false, false}, {nil, nil, true}, {nil, 0, false},
		{"a", "a", true}, {"é", "e\u0301", false},
		{obj("a", 1, "b", nil), obj("b", nil, "a", n("1")), true},
		{obj("a", nil), obj("b", nil), false}, {obj("a", nil), obj(), false},
		{[]any{1, 2}, []any{2, 1}, false}, {[]any{}, []any{}, true}, {[]any{}, obj(), false}, {[]any{obj("x", []any{1.50})}, []any{obj("x", []any{n("1.5")})}, true},
		{struct{}{}, struct{}{}, false}, {math.NaN(), math.NaN(), false}, {n("x"), n("x"), false},
	}
	for _, tt := range tests {
		if got := logto.EqualData(tt.a, tt.b); got != tt.want {
			t.Errorf("EqualData(%v, %v) = %t", tt.a, tt.b, got)
		}
		if got := logto.EqualData(tt.b, tt.a); got != tt.want {
			t.Errorf("EqualData(%v, %v) = %t", tt.b, tt.a, got)
		}
	}
}

// aNumber draws a JSON number as text.
func aNumber() *rapid.Generator[string] {
	return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`)
}

// anyData draws a JSON value of at most this depth.
func anyData(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Float64().AsAny(),
		rapid.Map(aNumber(), func(s string) any { return json.Number(s) }),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return anyData(depth - 1) })
	return rapid.OneOf(append(scalars,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(s []any) any { return s }),
		rapid.Map(rapid.MapOfN(rapid.String(), inner, 0, 4), func(m map[string]any) any { return m }))...)
}

func TestEqualDataIsReflexiveAndIgnoresTheOrderOfKeys(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyData(4).Draw(rt, "value")
		if !logto.EqualData(v, v) {
			rt.Fatalf("%v does not equal itself", v)
		}
		// A round trip through JSON gives other maps, of another order, and other types of numbers.
		raw, err := json.Marshal(map[string]any{"v": v})
		if err != nil {
			rt.Fatal(err)
		}
		parsed, err := logto.ParseCustomData(raw)
		if err != nil {
			rt.Fatal(err)
		}
		if !logto.EqualData(parsed["v"], v) {
			rt.Fatalf("%v does not equal %v", parsed["v"], v)
		}
	})
}

func TestEqualDataIgnoresTheSpellingOfNumbers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		digits := rapid.StringMatching(`[1-9][0-9]{0,30}`).Draw(rt, "digits")
		exponent := rapid.IntRange(-400, 400).Draw(rt, "exponent")
		zeros := rapid.IntRange(0, 20).Draw(rt, "zeros")
		point := rapid.IntRange(1, len(digits)).Draw(rt, "point")
		plain := json.Number(digits + "e" + itoa(exponent))
		longer := json.Number(digits + strings.Repeat("0", zeros) + "E" + itoa(exponent-zeros))
		fraction := digits[point:] + strings.Repeat("0", zeros+1)
		pointed := json.Number(digits[:point] + "." + fraction + "e" + itoa(exponent+len(digits)-point))
		for _, other := range []json.Number{longer, pointed} {
			if !logto.EqualData(plain, other) {
				rt.Errorf("%s does not equal %s", plain, other)
			}
		}
		if other := json.Number(digits + "1e" + itoa(exponent-1)); logto.EqualData(plain, other) {
			rt.Errorf("%s equals %s", plain, other)
		}
	})
}

func itoa(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(b)
}

// What is accepted survives writing and reading; what CheckCustomData then accepts is what Logto can hold.
func FuzzParseCustomData(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":"\ud83d\ude80"}`, `{"a":"\ud83d"}`, `{"a":"\\ud83d"}`, `{"a":1e400,"b":-0.0}`, `{"a":[{"b":[[]]}]}`,
		`{"big":12345678901234567890,"float":0.1,"deep":{"a":{"b":{"c":[1,[2,[3]]]}}}}`, `{"名前":"山田 🚀","ź":"é"}`,
		`{"a":1,"a":2}`, `null`, `[1]`, `{"a":"\u0000"}`, "{\"a\":\"\xff\"}", `{"a":1}x`, `{"a":9007199254740993}`, "{\"a\":\"\\",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		data, err := logto.ParseCustomData(raw)
		if err != nil {
			var refused *logto.DataError
			if !errors.As(err, &refused) {
				t.Fatalf("%T is not a *DataError", err)
			}
			return
		}
		again, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		reread, err := logto.ParseCustomData(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if !logto.EqualData(data, reread) {
			t.Errorf("%s is read as %v, then as %v", raw, data, reread)
		}
		if logto.CheckCustomData(data) == nil {
			// JavaScript would read doubles; all digits must be in them.
			var doubles map[string]any
			if err := json.Unmarshal(again, &doubles); err != nil {
				t.Fatal(err)
			}
			if !logto.EqualData(data, doubles) {
				t.Errorf("%s would be stored as %v", again, doubles)
			}
		}
	})
}
