package m2m

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that does not print: fmt (every verb), log/slog, encoding/json, encoding/xml and text/template get a
// placeholder, and printers that walk values by reflection, past methods and into fields that are not exported, find the
// address of a function. Reveal alone gives the text. The zero Secret is empty.
//
// It is not wiped from memory, since there is no time at which that would mean something: a Source needs it as long as
// the process lives, a Go string cannot be overwritten, and encoding/json and net/http make copies of it as they work. What
// can be wiped is: the buffer a credentials file was read into, and the keys that are derived from it.
// Whoever can read the process's memory, or a core dump, has the secret.
type Secret struct{ reveal func() string }

// placeholder stands where a secret would.
const placeholder = "[secret]"

// NewSecret makes a Secret of the text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{func() string { return text }}
}

// Reveal returns the text. What is done with it then is up to the caller: it prints.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return s.reveal == nil }

// Equal tells whether both are the same text, in a time that does not tell how much of it is the same. go-cmp uses it, too.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns a placeholder.
func (s Secret) String() string { return placeholder }

// GoString returns a placeholder.
func (s Secret) GoString() string { return placeholder }

// Format implements fmt.Formatter: every verb prints a placeholder.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, placeholder) }

// LogValue implements slog.LogValuer by a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(placeholder) }

// MarshalJSON gives a placeholder: a secret is read from JSON (see ParseCredentials), and never written to it by accident.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + placeholder + `"`), nil }

// MarshalText gives a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(placeholder), nil }
