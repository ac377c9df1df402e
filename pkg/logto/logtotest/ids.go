package logtotest

import (
	"crypto/rand"
	"time"
)

const (
	lowerLetters     = "abcdefghijklmnopqrstuvwxyz0123456789"
	letters          = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + lowerLetters
	requestIDLetters = letters + "_-"
)

// secretPrefix begins every app secret and signing key of a Tenant, so that a test can search a program's output for one.
const secretPrefix = "logtotestSecret"

// randomString makes an identifier. It is a little uneven over the letters, which does not matter here.
func randomString(n int, alphabet string) string {
	b := make([]byte, n)
	// crypto/rand never returns an error: it ends the program where the system has no random numbers.
	if _, err := rand.Read(b); err != nil {
		return ""
	}
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

func newID() string     { return randomString(21, lowerLetters) }
func newUserID() string { return randomString(12, lowerLetters) }

// newSecret makes a secret of 32 letters and digits, as Logto's are.
func newSecret() string { return secretPrefix + randomString(32-len(secretPrefix), letters) }

// millis is a time as Logto writes it.
func millis(t time.Time) int64 { return t.UnixMilli() }
