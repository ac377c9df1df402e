package logto_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// FuzzParseCustomDataAgreesWithEncodingJSON: what is taken is the same, and means the same, but for the three things that
// encoding/json does not refuse.
func FuzzParseCustomDataAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`{"orders":{"asOf":"1997-03-24","count":3,"spent":-12.50e+3,"tags":[1,"a",true,false,null,{}]}}`, " {\t} \r\n", `{"a":1,"a":{"b":2}}`,
		`{"a":"\u00e9\ud83d\ude80\n\/\\\""}`, `{"a":"\ud83d"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"\u0061":0,}`, `{"a":[1,]}`, `{"a":01}`, `{"a":-}`,
		`{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":+1}`, `{"a":1-2}`, `{"a" 1}`, `{a:1}`, `{"a":tru}`, `{"a":truex}`, `[1]`, `null`, `"x"`, `1`, `true`, ``, `{}{}`,
		"{\"a\":\"\x01\"}", "{}\x00", "\x00", "{\"a\":\x00}", `{"a":"b`, `{"a":"b\`, `{"`, "\xef\xbb\xbf{}", `{"a":NaN}`, `{"":""}`, "{\"a\":\"\x7f\u2028\"}",
		strings.Repeat(`{"a":[`, 500), strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := logto.ParseCustomData(raw)
		if err != nil {
			for _, stricter := range []string{"half a surrogate pair", "nested deeper than 1000", "invalid UTF-8"} {
				if strings.Contains(err.Error(), stricter) {
					return
				}
			}
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var want map[string]any
		wanted := dec.Decode(&want) == nil && want != nil
		if _, end := dec.Token(); end != io.EOF {
			wanted = false
		}
		if (err == nil) != wanted {
			t.Fatalf("error %v, encoding/json takes it: %v", err, wanted)
		}
		// cmp takes for ever over lists nested some dozens deep.
		if wanted && !reflect.DeepEqual(want, got) {
			t.Errorf("got %v, encoding/json has %v", got, want)
		}
	})
}
