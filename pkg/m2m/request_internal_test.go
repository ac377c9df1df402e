package m2m

import (
	"strings"
	"testing"
	"time"
)

func FuzzTokenAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"abc.def.ghi","expires_in":3600,"token_type":"Bearer","scope":"all"}`,
		`{"access_token":"abc","expires_in":3600,"token_type":"Bearer"}`,
		`{"access_token":"abc","expires_in":"3600","token_type":"bearer"}`,
		`{"access_token":"abc","expires_in":0,"token_type":"Bearer"}`,
		`{"access_token":"abc","expires_in":-1,"token_type":"Bearer"}`,
		`{"access_token":"abc","expires_in":1e300,"token_type":"Bearer"}`,
		`{"access_token":"abc","expires_in":0.5,"token_type":"Bearer"}`,
		`{"access_token":"abc","token_type":"Bearer"}`,
		`{"access_token":"a\r\nX-Injected: 1","expires_in":3600,"token_type":"Bearer"}`,
		`{"access_token":"abc","expires_in":3600,"token_type":"mac"}`,
		`{"access_token":["abc"]}`,
		`<html>sign in to the proxy</html>`,
		``,
		`null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		token, lifetime, err := parseToken(body)
		if err != nil {
			// What an operator reads is one of a few fixed sentences: nothing of the answer may be in it.
			if message := err.Error(); len(message) > 150 || strings.ContainsAny(message, "\r\n<{") {
				t.Errorf("error %q", message)
			}
			return
		}
		if token.AccessToken == "" || strings.ContainsAny(token.AccessToken, " \r\n\t\x00") {
			t.Errorf("token %q does not fit a header", token.AccessToken)
		}
		if lifetime < time.Second || token.TokenType != "Bearer" {
			t.Errorf("lifetime %v, type %q", lifetime, token.TokenType)
		}
	})
}
