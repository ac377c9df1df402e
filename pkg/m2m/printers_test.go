package m2m_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"unsafe"

	"github.com/google/go-cmp/cmp"
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
