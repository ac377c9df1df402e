package m2m_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"text/template"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// printers are what a value may be printed by, by accident or on purpose. An error is no leak.
func printers() map[string]func(value any) string {
	all := map[string]func(value any) string{
		"fmt.Sprint": func(v any) string { return fmt.Sprint(v) },
		"fmt.Errorf": func(v any) string { return fmt.Errorf("outer: %w", fmt.Errorf("inner %v %+v", v, v)).Error() },
		"errors.Join": func(v any) string {
			return fmt.Sprintf("%+v", errors.Join(fmt.Errorf("%#v", v), errors.ErrUnsupported))
		},
		"reflect": func(v any) string {
			return fmt.Sprintf("%v %+v %#v", reflect.ValueOf(v), reflect.ValueOf(v), reflect.ValueOf(v))
		},
		"walk":         walk,
		"walk pointer": func(v any) string { return walk(&v) },
		"cmp.Diff":     func(v any) string { return diff(v, nil) + diff(v, reflect.Zero(reflect.TypeOf(v)).Interface()) },
	}
	for _, flags := range []string{"", "+", "#", "-40", "040", " ", ".3", "+#"} {
		for _, verb := range "vsqxXdTtbcoOUeEfFgGpw" {
			format := "%" + flags + string(verb)
			all[format] = func(v any) string {
				return fmt.Sprintf(format, v) + fmt.Sprintf(format, []any{v, map[string]any{"k": v}, struct{ in any }{v}, &v})
			}
		}
	}
	encoders := map[string]func(buffer *bytes.Buffer, v any){
		"json": func(b *bytes.Buffer, v any) {
			_ = json.NewEncoder(b).Encode(v)
			_ = json.NewEncoder(b).Encode(map[string]any{"in": []any{v}})
		},
		"xml": func(b *bytes.Buffer, v any) { _ = xml.NewEncoder(b).Encode(v) },
		"gob": func(b *bytes.Buffer, v any) { _ = gob.NewEncoder(b).Encode(v) },
		"template": func(b *bytes.Buffer, v any) {
			_ = template.Must(template.New("").Parse(`{{.}} {{printf "%#v" .}} {{js .}} {{len (print .)}}`)).Execute(b, v)
		},
		"log": func(b *bytes.Buffer, v any) { log.New(b, "", 0).Printf("%v %+v", v, v) },
		"slog text": func(b *bytes.Buffer, v any) {
			logger := slog.New(slog.NewTextHandler(b, nil))
			logger.With("with", v).WithGroup("g").Info("x", "value", v, slog.Group("group", "in", v), "list", []any{v}, "err", fmt.Errorf("%v", v))
		},
		"slog JSON": func(b *bytes.Buffer, v any) {
			logger := slog.New(slog.NewJSONHandler(b, nil))
			logger.With("with", v).WithGroup("g").Info("x", "value", v, slog.Group("group", "in", v), "list", []any{v}, "err", fmt.Errorf("%v", v))
		},
	}
	for name, encode := range encoders {
		all[name] = func(v any) string {
			var buffer bytes.Buffer
			encode(&buffer, v)
			return buffer.String()
		}
	}
	return all
}

// diff is what go-cmp says; it panics on fields that it must not look into.
func diff(x, y any) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said = fmt.Sprint(r)
		}
	}()
	return cmp.Diff(x, y)
}

// walk prints a value as printers of debuggers do: past all methods, through pointers, interfaces, and fields that are
// not exported. A function is where it ends.
func walk(value any) string {
	var b strings.Builder
	seen := map[unsafe.Pointer]bool{}
	var visit func(v reflect.Value, depth int)
	visit = func(v reflect.Value, depth int) {
		if depth > 40 || !v.IsValid() {
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() && !seen[v.UnsafePointer()] {
				seen[v.UnsafePointer()] = true
				visit(v.Elem(), depth+1)
			}
		case reflect.Interface:
			visit(v.Elem(), depth+1)
		case reflect.Struct:
			if strings.HasPrefix(v.Type().Name(), "Pointer[") && v.Type().PkgPath() == "sync/atomic" {
				// Its first field has the type of what the last one points to.
				if at := v.FieldByName("v").UnsafePointer(); at != nil {
					visit(reflect.NewAt(v.Field(0).Type().Elem().Elem(), at), depth+1)
				}
			}
			for i := range v.NumField() {
				visit(v.Field(i), depth+1)
			}
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
				b.Write(v.Bytes())
				return
			}
			for i := range v.Len() {
				visit(v.Index(i), depth+1)
			}
		case reflect.Map:
			for each := v.MapRange(); each.Next(); {
				visit(each.Key(), depth+1)
				visit(each.Value(), depth+1)
			}
		case reflect.String:
			b.WriteString(v.String() + "\n")
		}
	}
	visit(reflect.ValueOf(value), 0)
	return b.String()
}

func TestTheWalkFindsWhatIsHidden(t *testing.T) {
	type hidden struct{ in map[string]*[]any }
	text := "found"
	atomically := struct{ p atomic.Pointer[hidden] }{}
	atomically.p.Store(&hidden{map[string]*[]any{"k": {struct{ s *string }{&text}}}})
	if got := walk(&atomically); !strings.Contains(got, "found") {
		t.Errorf("the walk says %q", got)
	}
}

// forms are the ways in which a text may stand in an output.
func forms(text string) []string {
	return []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("% x", text), fmt.Sprint([]byte(text)), text[15:]}
}

func TestASecretIsNotPrintedByAnything(t *testing.T) {
	const text = "logtotestSecret0123456789abcdefgh"
	secret := m2m.NewSecret(text)
	c := m2m.Credentials{Endpoint: "https://tenant.logto.app", AppID: "app", AppSecret: secret}
	type holder struct {
		Out m2m.Secret
		in  m2m.Secret
		all map[string]m2m.Credentials
	}
	type named m2m.Secret // a conversion loses the methods
	values := []any{secret, &secret, []m2m.Secret{secret}, map[string]m2m.Secret{"k": secret}, named(secret),
		c, &c, []*m2m.Credentials{&c}, m2m.StaticCredentials(c), m2m.Config{Credentials: m2m.StaticCredentials(c)},
		holder{secret, secret, map[string]m2m.Credentials{"k": c}}, &holder{secret, secret, nil}}
	tried := 0
	for name, printed := range printers() {
		for _, value := range values {
			tried++
			said := printed(value)
			for _, form := range forms(text) {
				if strings.Contains(said, form) {
					t.Errorf("%s of a %T prints the secret", name, value)
					break
				}
			}
		}
	}
	t.Logf("%d combinations of printer and value", tried)
	if got, err := json.Marshal(map[string]any{"s": secret, "c": c}); err != nil ||
		string(got) != `{"c":{"appId":"app","endpoint":"https://tenant.logto.app"},"s":"[secret]"}` {
		t.Errorf("JSON: %s, %v", got, err)
	}
	if secret.Reveal() != text {
		t.Error("Reveal does not")
	}
	if other := m2m.NewSecret(text + "x"); secret.Equal(other) || !secret.Equal(m2m.NewSecret(text)) || !(m2m.Secret{}).IsZero() || !m2m.NewSecret("").Equal(m2m.Secret{}) {
		t.Error("Equal or IsZero is wrong")
	}
}

func TestNothingThatIsMadeOfASecretPrintsIt(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		source := w.source(config)
		token := w.token(source)
		synctest.Wait() // what is printed is read without its locks
		values := []any{config, &config, source, *w.client, &m2m.Transport{Source: source}, source.Stats(), source.TokenSource(t.Context())}
		for _, value := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				if said := fmt.Sprintf(verb, value); containsSecret(said, w.app.Secret) || containsSecret(said, token) {
					t.Errorf("%s of a %T prints the secret or the token", verb, value)
				}
			}
			if said := walk(value); containsSecret(said, w.app.Secret) {
				t.Errorf("the secret is within reach of a walk from a %T", value)
			}
		}
	})
}

// Every error that this package makes, with a server that says the secret and the token to our face.
func TestNoErrorHoldsTheSecretOrAToken(t *testing.T) {
	echo := func(w *world) string {
		return `{"code":"x","message":"` + w.app.Secret + `","error":"` + w.app.Secret + `","error_description":"secret ` + w.app.Secret + `"}`
	}
	fault := func(f func(w *world) logtotest.Fault) func(w *world) error {
		return func(w *world) error {
			w.tenant.Inject(f(w))
			_, err := w.source(w.config()).Token(w.t.Context())
			return err
		}
	}
	with := func(change func(w *world, c *m2m.Config)) func(w *world) error {
		return func(w *world) error {
			config := w.config()
			change(w, &config)
			_, err := w.source(config).Token(w.t.Context())
			return err
		}
	}
	changed := func(change func(c *m2m.Credentials)) func(w *world) error {
		return with(func(w *world, c *m2m.Config) {
			credentials := w.credentials()
			change(&credentials)
			c.Credentials = m2m.StaticCredentials(credentials)
		})
	}
	cases := map[string]func(w *world) error{
		"a scope not granted":      with(func(_ *world, c *m2m.Config) { c.Scopes = []string{"write:products"} }),
		"an unknown resource":      with(func(_ *world, c *m2m.Config) { c.Resource = "https://none.api" }),
		"an organization":          with(func(w *world, c *m2m.Config) { c.OrganizationID = w.tenant.AddOrganization() }),
		"an app id unknown":        changed(func(c *m2m.Credentials) { c.AppID = "nobody" }),
		"an endpoint in the clear": changed(func(c *m2m.Credentials) { c.Endpoint = "http://tenant.example" }),
		"the secret for the id": changed(func(c *m2m.Credentials) {
			c.AppSecret = m2m.NewSecret(c.AppSecret.Reveal() + "x")
		}),
		"no server": with(func(w *world, c *m2m.Config) {
			c.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })}
		}),
		"400 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 400, Body: echo(w)} }),
		"401 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 401, Body: echo(w)} }),
		"403 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 403, Body: echo(w)} }),
		"500 that echoes": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 500, Times: -1, Body: echo(w)}
		}),
		"200 that echoes": fault(func(w *world) logtotest.Fault { return logtotest.Fault{Route: tokenRoute, Status: 200, Body: echo(w)} }),
		"200 that is no JSON": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 200, Body: w.app.Secret}
		}),
		"a token type of its own": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 200, Body: `{"access_token":"` + w.app.Secret + `","token_type":"` + w.app.Secret + `"}`}
		}),
		"a redirect with it": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 307, Header: map[string]string{"Location": "https://elsewhere.example/?" + w.app.Secret}}
		}),
		"a request id with it": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 400, Header: map[string]string{"Logto-Core-Request-Id": w.app.Secret}}
		}),
		"a Retry-After of its own": fault(func(w *world) logtotest.Fault {
			return logtotest.Fault{Route: tokenRoute, Status: 429, Times: -1, Header: map[string]string{"Retry-After": w.app.Secret}}
		}),
		"a caller that gives up": func(w *world) error {
			w.tenant.Inject(logtotest.Fault{Route: tokenRoute, Status: 500, Times: -1, Body: echo(w)})
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
			defer cancel()
			source := w.source(w.config())
			_, err := source.Token(ctx)
			source.Wait(w.t.Context())
			return err
		},
		"an API that refuses": func(w *world) error {
			api, base := w.serve(func(_ int, rw http.ResponseWriter, r *http.Request) {
				http.Error(rw, r.Header.Get("Authorization")+w.app.Secret, http.StatusUnauthorized)
			})
			source := w.source(w.config())
			client := &http.Client{Transport: &m2m.Transport{Source: source, Origin: api.url, Base: base}}
			_, err := client.Do(w.request(http.MethodGet, api.url, ""))
			return err
		},
		"an API that is gone": func(w *world) error {
			client := &http.Client{Transport: &m2m.Transport{Source: w.source(w.config()), Origin: "https://shop.example",
				Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })}}
			_, err := client.Do(w.request(http.MethodGet, "https://shop.example", ""))
			return err
		},
		"credentials that are text": func(w *world) error {
			_, err := m2m.ParseCredentials([]byte(w.app.Secret))
			return err
		},
		"credentials that are wrong": func(w *world) error {
			_, err := m2m.ParseCredentials([]byte(`{"endpoint":"https://u:` + w.app.Secret + `@h","appId":"a","appSecret":"` + w.app.Secret + `"}`))
			return err
		},
	}
	for name, cause := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, logtotest.Config{}, func(w *world) {
				err := cause(w)
				if err == nil {
					t.Fatal("no error")
				}
				for by, printed := range printers() {
					if said := printed(err); containsSecret(said, w.app.Secret) || strings.Contains(said, "eyJ") {
						t.Errorf("%s of a %T holds the secret or a token", by, err)
					}
				}
			})
		})
	}
}
