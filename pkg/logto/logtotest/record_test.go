package logtotest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// An exchange is a file of the record: a request with the answer that a real Logto gave.
type exchange struct {
	Name    string
	Shows   string
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         json.RawMessage
	}
	Response struct {
		Status  int
		Headers map[string]any // a string, or several
		Body    json.RawMessage
	}
}

var repeated = regexp.MustCompile(`the letter x, (\d+) times`)

// readExchange reads a recorded exchange with its placeholders replaced.
func readExchange(t *testing.T, name string, placeholders map[string]string) exchange {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "answers", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	pairs := make([]string, 0, 2*len(placeholders))
	for k, v := range placeholders {
		pairs = append(pairs, k, v)
	}
	text := strings.NewReplacer(pairs...).Replace(string(raw))
	text = repeated.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.Atoi(repeated.FindStringSubmatch(s)[1])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Repeat("x", n)
	})
	var x exchange
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return x
}

// request makes the recorded request. The recorder sent a body that is an object as application/json, and a text as it is.
func (x exchange) request(t *testing.T, endpoint string) *http.Request {
	t.Helper()
	var body io.Reader
	isObject := false
	if len(x.Request.Body) > 0 && string(x.Request.Body) != "null" {
		text := string(x.Request.Body)
		if isObject = text[0] == '{'; isObject {
			var compact bytes.Buffer
			if err := json.Compact(&compact, x.Request.Body); err != nil {
				t.Fatal(err)
			}
			text = compact.String()
		} else if err := json.Unmarshal(x.Request.Body, &text); err != nil {
			t.Fatal(err)
		}
		body = strings.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), x.Request.Method, endpoint+x.Request.Path, body)
	if err != nil {
		t.Fatal(err)
	}
	if isObject {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range x.Request.Headers {
		req.Header.Set(k, v)
	}
	return req
}

// headers are the recorded values of a header of the answer.
func (x exchange) headers(name string) []string {
	for k, v := range x.Response.Headers {
		if !strings.EqualFold(k, name) {
			continue
		}
		switch v := v.(type) {
		case string:
			return []string{v}
		case []any:
			var all []string
			for _, s := range v {
				all = append(all, fmt.Sprint(s))
			}
			return all
		}
	}
	return nil
}

// A member is a member of a JSON object; an object is a []member, so that the order is compared too.
type member struct {
	key   string
	value any
}

// ordered decodes JSON keeping the order of objects and the spelling of numbers.
func ordered(t *testing.T, raw []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return orderedValue(t, dec)
}

func orderedValue(t *testing.T, dec *json.Decoder) any {
	t.Helper()
	token := func() json.Token {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	switch tok := token(); tok {
	case json.Delim('{'):
		object := []member{}
		for dec.More() {
			key := fmt.Sprint(token())
			object = append(object, member{key, orderedValue(t, dec)})
		}
		token()
		return object
	case json.Delim('['):
		array := []any{}
		for dec.More() {
			array = append(array, orderedValue(t, dec))
		}
		token()
		return array
	default:
		return tok
	}
}

// differ compares an answer with the recorded one.
type differ struct {
	exchange string
	diffs    []string
}

func (d *differ) add(path, format string, args ...any) {
	d.diffs = append(d.diffs, path+": "+fmt.Sprintf(format, args...))
}

func (d *differ) compare(path string, want, got any) {
	switch want := want.(type) {
	case []member:
		got, ok := got.([]member)
		if !ok {
			d.add(path, "is %T, recorded is an object", got)
			return
		}
		for i := range max(len(want), len(got)) {
			switch {
			case i >= len(got):
				d.add(path+"."+want[i].key, "is missing")
			case i >= len(want):
				d.add(path+"."+got[i].key, "is not recorded")
			case want[i].key != got[i].key:
				d.add(path+"."+got[i].key, "stands where %s is recorded", want[i].key)
			default:
				d.compare(path+"."+want[i].key, want[i].value, got[i].value)
			}
		}
	case []any:
		got, ok := got.([]any)
		if !ok || len(want) != len(got) {
			d.add(path, "has %d elements, recorded are %d", len(got), len(want))
			return
		}
		for i := range want {
			d.compare(fmt.Sprintf("%s[%d]", path, i), want[i], got[i])
		}
	default:
		key := path[strings.LastIndexByte(path, '.')+1:]
		switch {
		case want == got || d.sameKind(key, want, got):
		case key == "value" || key == "access_token":
			d.add(path, "is not as recorded") // a secret or a token is not shown
		default:
			d.add(path, "is %.200v, recorded is %.200v", got, want)
		}
	}
}

// sameKind tells whether two different values are of the kind that differs from tenant to tenant: a time, an id, a token.
func (d *differ) sameKind(key string, want, got any) bool {
	switch key {
	case "createdAt", "updatedAt", "expiresAt", "iat", "exp":
		w, wok := want.(json.Number)
		g, gok := got.(json.Number)
		return wok && gok && len(w) == len(g)
	case "id", "resourceId", "kid", "jti", "x", "y":
		// The ids of users were given, so they must be the same.
		w, wok := want.(string)
		g, gok := got.(string)
		return wok && gok && len(w) == len(g) && !strings.HasPrefix(d.exchange, "user")
	case "access_token":
		g, ok := got.(string)
		return ok && want == "<jwt>" && jwt.MatchString(g)
	case "value":
		g, ok := got.(string)
		return ok && want == "<app secret, 32 letters and digits>" && appSecret.MatchString(g)
	case "error":
		// The cause in the audit log is JSON in a string; the recorded one has a stack trace besides.
		w, wok := want.(string)
		g, gok := got.(string)
		return wok && gok && json.Valid([]byte(w)) && json.Valid([]byte(g)) && strings.Contains(g, `"error":"invalid_client"`)
	}
	return false
}

var (
	jwt       = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]{128}$`)
	appSecret = regexp.MustCompile(`^logtotestSecret[A-Za-z0-9]{17}$`)
)

// compareBody compares bodies; those that the recorder shortened, as far as they tell.
func (d *differ) compareBody(t *testing.T, x exchange, got []byte) {
	t.Helper()
	if string(x.Response.Body) == "null" {
		if len(got) > 0 {
			d.add("body", "has %d bytes, recorded is none", len(got))
		}
		return
	}
	want := ordered(t, x.Response.Body)
	if s, ok := want.(string); ok {
		if string(got) != s {
			d.add("body", "is %.100q, recorded is %q", got, s)
		}
		return
	}
	have := ordered(t, got)
	list, isList := have.([]any)
	switch {
	case isList && isCountAndFirst(want):
		short := want.([]member)
		d.compare("body.count", short[0].value, json.Number(strconv.Itoa(len(list))))
		if len(list) > 0 {
			d.compare("body.first", short[1].value, list[0])
		}
	case isList && x.Name == "users-search-ids-exact":
		d.compare("body", want, idsOf(list))
	case isList && x.Name == "users-search-ids-one-missing":
		d.compare("body", want, json.Number(strconv.Itoa(len(list))))
	case strings.HasSuffix(x.Name, "kb"):
		// User 2 had {"seed": true} too, as Content-Length shows; the recorder kept what was patched.
		if m, ok := have.([]member); ok && len(m) == 2 {
			have = m[:1]
		}
		d.compare("body", want, have)
	case isList && x.Name == "users-page-1":
		// The recorder kept three of the twenty.
		if len(list) != 20 {
			d.add("body", "has %d users, not 20", len(list))
			return
		}
		d.compare("body", want, list[:3])
	default:
		d.compare("body", want, have)
	}
}

func isCountAndFirst(v any) bool {
	m, ok := v.([]member)
	return ok && len(m) == 2 && m[0].key == "count" && m[1].key == "first"
}

func idsOf(users []any) []any {
	var ids []any
	for _, u := range users {
		if m, ok := u.([]member); ok && len(m) > 0 {
			ids = append(ids, m[0].value)
		}
	}
	return ids
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}
