package logto

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// ParseCustomData decodes custom data from JSON as strictly as it must be for nothing to change on the way: numbers stay
// json.Number, and what encoding/json would quietly replace (half a surrogate pair, invalid UTF-8) is refused, as is
// nesting deeper than 1,000. A *DataError says what is wrong. Of a key that comes twice the last one counts, as in
// JavaScript. What Logto would not store, such as U+0000 and large numbers, is for CheckCustomData to find.
func ParseCustomData(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) {
		return nil, &DataError{Reason: "invalid UTF-8: convert it to UTF-8"}
	}
	if at := loneSurrogate(raw); at >= 0 {
		return nil, &DataError{Reason: fmt.Sprintf("half a surrogate pair at byte %d: the text was cut inside a character", at)}
	}
	p := parser{in: raw}
	v, reason := p.value()
	if reason != "" {
		return nil, &DataError{Reason: reason}
	}
	data, ok := v.(map[string]any)
	switch {
	case v == nil:
		return nil, &DataError{Reason: "is null, not a JSON object"}
	case !ok:
		return nil, &DataError{Reason: "is a JSON " + typeName(v) + ", not an object"}
	case p.next() != 0:
		return nil, &DataError{Reason: fmt.Sprintf("more text after the JSON object, at byte %d", p.at+1)}
	}
	return data, nil
}

func typeName(v any) string {
	switch v.(type) {
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "number"
}

// parser reads JSON (RFC 8259) in one pass: a sync reads millions of small objects, for which encoding/json, without a
// way to tell it what must not be replaced, takes several passes. It is held to agree with encoding/json by a fuzz test.
// Its methods return why they can't go on, and show none of the text.
type parser struct {
	in    []byte // is UTF-8 without half surrogate pairs
	at    int
	depth int
}

const tooEarly = "not JSON: it ends too early"

// unexpected says where the text is wrong, counting bytes from 1.
func (p *parser) unexpected() string {
	if p.at >= len(p.in) {
		return tooEarly
	}
	return fmt.Sprintf("not JSON, at byte %d", p.at+1)
}

// next skips blanks and returns the byte that comes then, 0 at the end.
func (p *parser) next() byte {
	for ; p.at < len(p.in); p.at++ {
		switch c := p.in[p.at]; c {
		case ' ', '\t', '\r', '\n':
		case 0:
			return 1 // no more valid than any other control character, but not the end
		default:
			return c
		}
	}
	return 0
}

func (p *parser) value() (v any, reason string) {
	switch c := p.next(); {
	case c == '{':
		return p.nested(p.object)
	case c == '[':
		return p.nested(p.array)
	case c == '"':
		return p.text()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return nil, p.unexpected()
}

// nested reads what stands in brackets.
func (p *parser) nested(read func() (any, string)) (any, string) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Sprintf("nested deeper than %d", maxDepth)
	}
	p.at++
	v, reason := read()
	p.depth--
	return v, reason
}

func (p *parser) object() (any, string) {
	object := map[string]any{}
	if p.next() == '}' {
		p.at++
		return object, ""
	}
	for {
		if p.next() != '"' {
			return nil, p.unexpected()
		}
		key, reason := p.text()
		if reason != "" {
			return nil, reason
		}
		if p.next() != ':' {
			return nil, p.unexpected()
		}
		p.at++
		if object[key], reason = p.value(); reason != "" {
			return nil, reason
		}
		if more, reason := p.more('}'); !more {
			return object, reason
		}
	}
}

func (p *parser) array() (any, string) {
	array := []any{}
	if p.next() == ']' {
		p.at++
		return array, ""
	}
	for {
		v, reason := p.value()
		if reason != "" {
			return nil, reason
		}
		array = append(array, v)
		if more, reason := p.more(']'); !more {
			return array, reason
		}
	}
}

// more reads a comma or the closing bracket.
func (p *parser) more(closing byte) (more bool, reason string) {
	switch p.next() {
	case ',':
		p.at++
		return true, ""
	case closing:
		p.at++
		return false, ""
	}
	return false, p.unexpected()
}

func (p *parser) text() (s, reason string) {
	begin, escaped := p.at, false
	for p.at++; p.at < len(p.in); p.at++ {
		switch c := p.in[p.at]; {
		case c == '"':
			p.at++
			if !escaped {
				return string(p.in[begin+1 : p.at-1]), ""
			}
			if json.Unmarshal(p.in[begin:p.at], &s) != nil {
				p.at = begin
				return "", p.unexpected()
			}
			return s, ""
		case c == '\\':
			escaped = true
			p.at++
		case c < ' ':
			return "", p.unexpected()
		}
	}
	return "", tooEarly
}

func (p *parser) word(word string) (reason string) {
	for i := range len(word) {
		if p.at == len(p.in) || p.in[p.at] != word[i] {
			return p.unexpected()
		}
		p.at++
	}
	return ""
}

func (p *parser) number() (v any, reason string) {
	begin := p.at
	for p.at < len(p.in) && isNumberByte(p.in[p.at]) {
		p.at++
	}
	number := string(p.in[begin:p.at])
	if !isNumber(number) {
		return nil, p.unexpected()
	}
	return json.Number(number), ""
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// loneSurrogate finds a \uXXXX escape that is half a surrogate pair; -1 if there is none. Backslashes stand only in strings.
func loneSurrogate(raw []byte) int {
	i := bytes.IndexByte(raw, '\\')
	if i < 0 {
		return -1
	}
	for ; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch unit := codeUnit(raw[i:]); {
		case unit < 0:
			i++ // another escape, of one character
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return i
		case unit >= 0xD800 && unit <= 0xDBFF:
			if low := codeUnit(raw[i+6:]); low < 0xDC00 || low > 0xDFFF {
				return i
			}
			i += 11
		default:
			i += 5
		}
	}
	return -1
}

// codeUnit is the value of the \uXXXX that b begins with; -1 if it begins otherwise.
func codeUnit(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
