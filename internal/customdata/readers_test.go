package customdata

import (
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// got is an entry as the tests compare it.
type got struct {
	Line   int
	Key    logto.Key
	Value  string
	Data   map[string]any
	Remove []string
	Reason string // the beginning, in what is wanted
	Raw    string // of rejected ones
}

func all(t testing.TB, s source) []got {
	t.Helper()
	var rows []got
	for {
		e, err := s.next()
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		g := got{Line: e.line, Key: e.row.key, Value: e.row.value, Data: e.row.data, Remove: e.row.remove, Reason: e.reason}
		if e.reason != "" {
			g.Raw = string(e.original())
		}
		rows = append(rows, g)
	}
}

// byBeginning compares reasons by their beginning, which is all that is wanted of them.
var byBeginning = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Reason" },
	cmp.Comparer(func(a, b string) bool {
		return a == b || a != "" && b != "" && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
	}))

func TestNDJSON(t *testing.T) {
	type obj = map[string]any
	for name, test := range map[string]struct {
		in   string
		want []got
	}{
		"nothing": {"", nil},
		"rows by each key, with line numbers of the file": {
			"{\"id\":\"u1\",\"customData\":{\"a\":1}}\n\n{\"primaryEmail\":\"a@x\",\"customData\":{\"a\":{\"b\":[true]}},\"remove\":[\"c\"]}\n" +
				"{\"username\":\"ann\",\"remove\":[\"c\",\"d\"]}\n{\"primaryPhone\":\"4712345678\",\"customData\":{}}\n",
			[]got{
				{Line: 1, Key: logto.ByID, Value: "u1", Data: obj{"a": json.Number("1")}},
				{Line: 3, Key: logto.ByEmail, Value: "a@x", Data: obj{"a": obj{"b": []any{true}}}, Remove: []string{"c"}},
				{Line: 4, Key: logto.ByUsername, Value: "ann", Data: obj{}, Remove: []string{"c", "d"}},
				{Line: 5, Key: logto.ByPhone, Value: "4712345678", Data: obj{}},
			}},
		"byte order mark, Windows line ends, blanks, no last line end": {
			"\xef\xbb\xbf{\"id\":\"u1\",\"customData\":{\"a\":\"ä\"}}\r\n  \r\n\t{\"id\":\"u2\",\"customData\":{}} ",
			[]got{
				{Line: 1, Key: logto.ByID, Value: "u1", Data: obj{"a": "ä"}},
				{Line: 3, Key: logto.ByID, Value: "u2", Data: obj{}},
			}},
		"what is not a row": {
			strings.Join([]string{
				`not json`,
				`[{"id":"u1","customData":{}}]`,
				`{"id":"u1","customData":{}} {"id":"u2","customData":{}}`,
				`{"customData":{"a":1}}`,
				`{"id":"u1","primaryEmail":"a@x","customData":{"a":1}}`,
				`{"id":"","customData":{"a":1}}`,
				`{"id":7,"customData":{"a":1}}`,
				`{"id":"u1"}`,
				`{"id":"u1","remove":[]}`,
				`{"id":"u1","customData":null}`,
				`{"id":"u1","customData":[1]}`,
				`{"id":"u1","remove":"a"}`,
				`{"id":"u1","remove":["a",""]}`,
				`{"id":"u1","remove":[1]}`,
				`{"id":"u1","customdata":{"a":1}}`,
				`{"id":"u1","customData":{"a":1},"remove":["b","a"]}`,
				`{"primaryEmail":"a\u0000@x","customData":{"a":1}}`,
				`{"id":"u1","customData":{"a":"b\u0000c"}}`,
				`{"id":"u1","customData":{"n":900719925474099311}}`,
				"{\"id\":\"u1\",\"customData\":{\"a\":\"\xff\"}}",
				`{"id":"u1","customData":{"a":1},"customData":{"b":2}}`,
				`{"id":"u1","customData":{"a":"\ud800"}}`,
				`{"id":"u1","customData":{"k":1,"b":0,"\u006b":2}}`,
				`{"id":"u1","customData":{"a":{"k":1,"k":2}}}`,
			}, "\n"),
			[]got{
				{Line: 1, Reason: "not a row: ", Raw: `"not json"`},
				{Line: 2, Reason: "not a row: ", Raw: `[{"id":"u1","customData":{}}]`},
				{Line: 3, Reason: "not a row: ", Raw: `"{\"id\":\"u1\",\"customData\":{}} {\"id\":\"u2\",\"customData\":{}}"`},
				{Line: 4, Reason: "no member tells the user: give one of id, primaryEmail, username, primaryPhone", Raw: `{"customData":{"a":1}}`},
				{Line: 5, Reason: "both id and primaryEmail: give exactly one", Raw: `{"id":"u1","primaryEmail":"a@x","customData":{"a":1}}`},
				{Line: 6, Reason: "id must be a text that is not empty", Raw: `{"id":"","customData":{"a":1}}`},
				{Line: 7, Reason: "id must be a text that is not empty", Raw: `{"id":7,"customData":{"a":1}}`},
				{Line: 8, Reason: "nothing to do: give customData, or remove", Raw: `{"id":"u1"}`},
				{Line: 9, Reason: "nothing to do: give customData, or remove", Raw: `{"id":"u1","remove":[]}`},
				{Line: 10, Reason: "customData must be an object", Raw: `{"id":"u1","customData":null}`},
				{Line: 11, Reason: "customData must be an object", Raw: `{"id":"u1","customData":[1]}`},
				{Line: 12, Reason: "remove must be a list of keys", Raw: `{"id":"u1","remove":"a"}`},
				{Line: 13, Reason: "remove must hold texts that are not empty", Raw: `{"id":"u1","remove":["a",""]}`},
				{Line: 14, Reason: "remove must hold texts that are not empty", Raw: `{"id":"u1","remove":[1]}`},
				{Line: 15, Reason: `unknown member "customdata": a row has one of id, primaryEmail, username, primaryPhone, and customData, remove`, Raw: `{"id":"u1","customdata":{"a":1}}`},
				{Line: 16, Reason: `key "a" is both in customData and in remove`, Raw: `{"id":"u1","customData":{"a":1},"remove":["b","a"]}`},
				{Line: 17, Reason: "primaryEmail has a control character", Raw: `{"primaryEmail":"a\u0000@x","customData":{"a":1}}`},
				{Line: 18, Reason: "customData at ", Raw: `{"id":"u1","customData":{"a":"b\u0000c"}}`},
				{Line: 19, Reason: "customData at n: the number has more digits than a JavaScript number keeps: send it as a string", Raw: `{"id":"u1","customData":{"n":900719925474099311}}`},
				{Line: 20, Reason: "not UTF-8: save the file as UTF-8", Raw: `"{\"id\":\"u1\",\"customData\":{\"a\":\"\ufffd\"}}"`},
				{Line: 21, Reason: `member "customData" comes twice`, Raw: `{"id":"u1","customData":{"a":1},"customData":{"b":2}}`},
				{Line: 22, Reason: "not a row: half a surrogate pair", Raw: `{"id":"u1","customData":{"a":"\ud800"}}`},
				{Line: 23, Reason: `key "k" comes twice in customData`, Raw: `{"id":"u1","customData":{"k":1,"b":0,"\u006b":2}}`},
				// Deeper the last counts, as in JavaScript.
				{Line: 24, Key: logto.ByID, Value: "u1", Data: obj{"a": obj{"k": json.Number("2")}}},
			}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, all(t, newNDJSON(strings.NewReader(test.in), position{})), byBeginning); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// endless is a line that does not end before n bytes.
func endless(n int64) io.Reader { return io.LimitReader(letters{}, n) }

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestLineThatIsTooLongIsRejectedWithoutHoldingIt(t *testing.T) {
	const good = `{"id":"u1","customData":{}}` + "\n"
	around := func(before, after string) io.Reader {
		return io.MultiReader(strings.NewReader(before), endless(1<<25), strings.NewReader("\n"+after))
	}
	for name, s := range map[string]source{
		"ndjson": newNDJSON(around(good, good), position{}),
		"csv":    mustCSV(t, around("id,a\nu1,1\n", "u1,1\n")),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rows := all(t, s)
		runtime.ReadMemStats(&after)
		if len(rows) != 3 || rows[0].Reason != "" || !strings.HasPrefix(rows[1].Reason, "longer than 1100000 bytes") || rows[2].Reason != "" {
			t.Errorf("%s: rows %.300v", name, rows)
			continue
		}
		if n := len(rows[1].Raw); n == 0 || n > 2*keptOfLong {
			t.Errorf("%s: %d bytes of the row are kept", name, n)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d bytes were allocated for a row of 32 MB", name, n)
		}
	}
}

func mustCSV(t testing.TB, r io.Reader) source {
	t.Helper()
	s, err := newCSV(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCSV(t *testing.T) {
	type obj = map[string]any
	for name, test := range map[string]struct {
		in   string
		want []got
	}{
		"header alone": {"id,plan\n", nil},
		"typed columns": {
			"\xef\xbb\xbfprimaryEmail,plan,visits:int,score:float,vip:bool,address:json\r\n" +
				"ann@x,gold,-7,1.50,true,\"{\"\"city\"\":\"\"Oslo\"\",\"\"no\"\":5}\"\r\n" +
				"\r\n" +
				"bob@x,\"two\nlines, \"\"quoted\"\"\",0,1e3,false,null\r\n" +
				"eve@x,,,,,",
			[]got{
				{Line: 2, Key: logto.ByEmail, Value: "ann@x", Data: obj{"plan": "gold", "visits": json.Number("-7"), "score": json.Number("1.50"),
					"vip": true, "address": obj{"city": "Oslo", "no": json.Number("5")}}},
				{Line: 4, Key: logto.ByEmail, Value: "bob@x", Data: obj{"plan": "two\nlines, \"quoted\"", "visits": json.Number("0"),
					"score": json.Number("1e3"), "vip": false, "address": nil}},
				// An empty cell leaves the key alone.
				{Line: 6, Key: logto.ByEmail, Value: "eve@x", Data: obj{}},
			}},
		"an empty text": {
			"id,plan,note:json\nu1,\"\",\"\"\"\"\"\"\nu2,gold,\"\"\n",
			[]got{
				{Line: 2, Key: logto.ByID, Value: "u1", Data: obj{"note": ""}},
				{Line: 3, Key: logto.ByID, Value: "u2", Data: obj{"plan": "gold"}},
			}},
		"what is not a row": {
			"id,n:int,f:float,b:bool,j:json,t\n" +
				"u1,1,1,true,1\n" +
				"u1,1,1,true,1,a,b\n" +
				",1,1,true,1,a\n" +
				"u1,1.0,1,true,1,a\n" +
				"u1,007,1,true,1,a\n" +
				"u1,90071992547409931,1,true,1,a\n" +
				"u1,1,\"1,5\",true,1,a\n" +
				"u1,1,NaN,true,1,a\n" +
				"u1,1,1,True,1,a\n" +
				"u1,1,1,true,{a:1},a\n" +
				"u1,1,1,true,\"1,\"\"x\"\":2\",a\n" +
				"u1,1,1,true,1,5\" disk\n" +
				"u1,1,1,true,1,\"5\" disk\"\n" +
				"u1,1,1,true,1,\xff\n" +
				"u1,1,1,true,1,ok\n" +
				"u1,1,1,true,1,\"open\nand more\n",
			[]got{
				{Line: 2, Reason: "it has 5 fields and the header has 6", Raw: `"u1,1,1,true,1"`},
				{Line: 3, Reason: "it has 7 fields and the header has 6", Raw: `"u1,1,1,true,1,a,b"`},
				{Line: 4, Reason: `column "id", which tells the user, is empty`, Raw: `",1,1,true,1,a"`},
				{Line: 5, Reason: `column "n:int": not a whole number`, Raw: `"u1,1.0,1,true,1,a"`},
				{Line: 6, Reason: `column "n:int": not a whole number`, Raw: `"u1,007,1,true,1,a"`},
				{Line: 7, Reason: "customData at ", Raw: `"u1,90071992547409931,1,true,1,a"`},
				{Line: 8, Reason: `column "f:float": not a number`, Raw: `"u1,1,\"1,5\",true,1,a"`},
				{Line: 9, Reason: `column "f:float": not a number`, Raw: `"u1,1,NaN,true,1,a"`},
				{Line: 10, Reason: `column "b:bool": neither true nor false`, Raw: `"u1,1,1,True,1,a"`},
				{Line: 11, Reason: `column "j:json": not JSON`, Raw: `"u1,1,1,true,{a:1},a"`},
				{Line: 12, Reason: `column "j:json": not JSON`, Raw: `"u1,1,1,true,\"1,\"\"x\"\":2\",a"`},
				{Line: 13, Reason: "not CSV: bare \" in non-quoted-field", Raw: `"u1,1,1,true,1,5\" disk"`},
				{Line: 14, Reason: "not CSV: extraneous or missing \" in quoted-field", Raw: `"u1,1,1,true,1,\"5\" disk\""`},
				{Line: 15, Reason: "not UTF-8", Raw: `"u1,1,1,true,1,` + "\\ufffd" + `"`},
				{Line: 16, Key: logto.ByID, Value: "u1", Data: obj{"n": json.Number("1"), "f": json.Number("1"), "b": true, "j": json.Number("1"), "t": "ok"}},
				{Line: 17, Reason: "not CSV: extraneous or missing \" in quoted-field", Raw: `"u1,1,1,true,1,\"open\nand more"`},
			}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, all(t, mustCSV(t, strings.NewReader(test.in))), byBeginning); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCSVHeaderThatCanNotBeUsedShowsWhatIsAccepted(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "the CSV file is empty",
		"\n\n":                   "the CSV file is empty",
		"email,plan\n":           `line 1: the first column is none of the keys (has the file a header line?); the header's first column is one of id, primaryEmail`,
		"\nemail,plan\n":         `line 2: the first column is none of`,
		"id;plan\nu1;gold\n":     "separate columns by commas",
		"id\n":                   "it has no second column",
		"id:int,plan\n":          `the first column is none of`,
		"id,plan:date\n":         `column 2 has an unknown type`,
		"id,plan:\n":             `column 2 has an unknown type`,
		"id,,plan\n":             `column 2 has no name`,
		"id, plan\n":             `column 2 has no name or blanks around it`,
		"id,plan,plan:int\n":     `column 3 has the name of an earlier one`,
		"id,\"plan\n":            "not CSV",
		"id,pl\xffn\n":           "column 2 is not UTF-8",
		strings.Repeat("x", 2e6): "longer than 1100000 bytes",
	} {
		_, err := newCSV(strings.NewReader(in))
		for _, want := range []string{want, "first column is one of id, primaryEmail, username, primaryPhone", "name:int, name:float, name:bool, name:json"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("header %.20q: error %v, want it to say %q", in, err, want)
			}
		}
	}
}

func TestCSVWithoutAHeaderShowsNoneOfItsValues(t *testing.T) {
	for _, in := range []string{
		"ann@example.com,Ann Smith,Oslo\n", "Ann;Oslo\n", "id,Ann Smith ,Oslo\n", "id,Oslo: Ann\n", "id,Ann,Ann\n", "Ann,\"Oslo\n",
		"id,\"Ann\" Oslo\n", "Ann\n", "id,Ann,\xff\n",
	} {
		_, err := newCSV(strings.NewReader(in))
		if err == nil || strings.Contains(err.Error(), "Ann") || strings.Contains(err.Error(), "ann@") || strings.Contains(err.Error(), "Oslo") {
			t.Errorf("header %q: error %v", in, err)
		}
	}
}

func TestCSVQuoteThatIsNeverClosedEndsTheReading(t *testing.T) {
	s := mustCSV(t, io.MultiReader(strings.NewReader("id,a\nu1,1\nu2,\"open\n"), strings.NewReader(strings.Repeat("u3,1\n", 1<<20))))
	if e, err := s.next(); err != nil || e.row.value != "u1" {
		t.Fatalf("row %+v, %v", e, err)
	}
	_, err := s.next()
	if err == nil || !strings.Contains(err.Error(), "a quote in the row that begins in line 3 is not closed") {
		t.Errorf("error %v", err)
	}
}
