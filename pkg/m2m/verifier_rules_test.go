package m2m_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// Each single character of a good token is changed, to each of some others.
func TestNoChangeOfATokenIsAccepted(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.AddResource(shopAPI, "read:orders")
	app := tenant.AddApp("orders")
	tenant.Grant(app.ID, shopAPI, "read:orders")
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    shopAPI, Scopes: []string{"read:orders"}, HTTPClient: tenant.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, remember := range map[string]int{"without memory": 0, "with memory": 100} {
		step := 1 + remember/20 // the memory changes nothing for what is not in it, and a signature takes a while
		v, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: tenant.Issuer(), Audience: shopAPI, HTTPClient: tenant.Client(), Log: quiet(), Remember: remember})
		if err != nil {
			t.Fatal(err)
		}
		wantVerified(t, v, genuine.AccessToken)
		tried, refused := 0, 0
		for i := 0; i < len(genuine.AccessToken); i += step {
			for _, c := range "A_.~" {
				if rune(genuine.AccessToken[i]) == c {
					continue
				}
				tried++
				_, err := v.Verify(t.Context(), genuine.AccessToken[:i]+string(c)+genuine.AccessToken[i+1:])
				if errors.Is(err, m2m.ErrInvalidToken) {
					refused++
				}
			}
			tried++ // and cut short
			if _, err := v.Verify(t.Context(), genuine.AccessToken[:i]); errors.Is(err, m2m.ErrInvalidToken) {
				refused++
			}
		}
		t.Logf("%s: %d invalid tokens tried, %d refused", name, tried, refused)
		if tried != refused {
			t.Errorf("%s: %d changed tokens were accepted", name, tried-refused)
		}
		wantVerified(t, v, genuine.AccessToken)
	}
}

func TestAFloodOfUnknownKidsNeitherFetchesNorHoldsUpGoodTokens(t *testing.T) {
	is := newIssuer(t)
	for name, remember := range map[string]int{"without memory": 0, "with memory": 10} {
		before := is.fetches.Load()
		v := is.verifier(t, func(c *m2m.VerifierConfig) { c.Remember = remember })
		good := is.token(t, nil)
		wantVerified(t, v, good)
		bad := make([]string, 50)
		for i := range bad {
			bad[i] = is.key.sign(t, tokenHeader(fmt.Sprintf("key-unknown-%d", i)), is.claims(nil))
		}
		var refused, passed atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for i := range 500 {
					if _, err := v.Verify(t.Context(), bad[i%len(bad)]); errors.Is(err, m2m.ErrInvalidToken) {
						refused.Add(1)
					}
					if i%10 == 0 {
						if _, err := v.Verify(t.Context(), good); err == nil {
							passed.Add(1)
						}
					}
				}
			})
		}
		all.Wait()
		fetches := is.fetches.Load() - before
		t.Logf("%s: a flood of 4000 tokens with unknown kids: %d refused, %d of 400 good ones passed, %d fetches of the keys", name, refused.Load(), passed.Load(), fetches)
		if refused.Load() != 4000 || passed.Load() != 400 || fetches != 1 {
			t.Errorf("%s: %d refused, %d passed, %d fetches", name, refused.Load(), passed.Load(), fetches)
		}
	}
}

func TestOrganizationTokens(t *testing.T) {
	tenant := logtotest.New(t)
	tenant.AddResource(shopAPI, "read:orders")
	app := tenant.AddApp("orders")
	tenant.Grant(app.ID, shopAPI, "read:orders")
	organization := tenant.AddOrganization()
	tenant.JoinOrganization(organization, app.ID, shopAPI, "read:orders")
	tenant.JoinOrganization(organization, app.ID, "", "read:members")
	token := func(c m2m.Config) string {
		t.Helper()
		c.Credentials = m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)})
		c.HTTPClient = tenant.Client()
		source, err := m2m.NewSource(c)
		if err != nil {
			t.Fatal(err)
		}
		token, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return token.AccessToken
	}
	verifier := func(change func(c *m2m.VerifierConfig)) *m2m.Verifier {
		c := m2m.VerifierConfig{Issuer: tenant.Issuer(), HTTPClient: tenant.Client(), Log: quiet()}
		change(&c)
		v, err := m2m.NewVerifier(c)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	plain := token(m2m.Config{Resource: shopAPI, Scopes: []string{"read:orders"}})
	ofAPI := token(m2m.Config{Resource: shopAPI, Scopes: []string{"read:orders"}, OrganizationID: organization})
	own := token(m2m.Config{Scopes: []string{"read:members"}, OrganizationID: organization})
	inAud := func(id string, claims map[string]any) string {
		all := map[string]any{"iss": tenant.Issuer(), "aud": "urn:logto:organization:" + id, "exp": time.Now().Unix() + 600}
		for name, value := range claims {
			all[name] = value
		}
		return tenant.Sign(nil, all)
	}

	api := verifier(func(c *m2m.VerifierConfig) { c.Audience = shopAPI })
	every := verifier(func(c *m2m.VerifierConfig) { c.OrganizationTokens = true })
	both := verifier(func(c *m2m.VerifierConfig) { c.Audience, c.OrganizationTokens = shopAPI, true })
	one := verifier(func(c *m2m.VerifierConfig) { c.Audience = "urn:logto:organization:" + organization })
	const refused = "refused"
	for name, test := range map[string]struct {
		verifier *m2m.Verifier
		token    string
		want     string // the organization's id
	}{
		"an API gets a token without one":             {api, plain, ""},
		"an API gets a token of one":                  {api, ofAPI, organization},
		"an API gets an organization token":           {api, own, refused},
		"any organization gets its token":             {every, own, organization},
		"any organization gets one without the claim": {every, inAud("another", nil), "another"},
		"any organization gets an API's token":        {every, plain, refused},
		"any organization gets an API's token of one": {every, ofAPI, refused},
		"both get an API's":                           {both, ofAPI, organization},
		"both get an organization token":              {both, own, organization},
		"one gets its own":                            {one, own, organization},
		"one gets another's":                          {one, inAud("another", nil), refused},
		"the claim and the audience differ":           {every, inAud("another", map[string]any{"organization_id": organization}), refused},
		"the audience names none":                     {every, inAud("", nil), refused},
	} {
		got, err := test.verifier.Verify(t.Context(), test.token)
		switch {
		case test.want == refused && !errors.Is(err, m2m.ErrInvalidToken):
			t.Errorf("%s: %v, want that it is refused", name, err)
		case test.want != refused && (err != nil || got.OrganizationID != test.want):
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: tenant.Issuer()}); err == nil || !strings.Contains(err.Error(), "Audience is empty") {
		t.Errorf("a verifier for nothing: %v", err)
	}
}

func TestRulesOfOnesOwn(t *testing.T) {
	is := newIssuer(t)
	for name, remember := range map[string]int{"without memory": 0, "with memory": 10} {
		asked, blocked := 0, ""
		v := is.verifier(t, func(c *m2m.VerifierConfig) {
			c.Remember = remember
			c.Check = func(_ context.Context, token *m2m.AccessToken) error {
				asked++
				var own struct {
					Plan   string         `json:"plan"`
					Limits map[string]int `json:"limits"`
				}
				if err := token.Claims(&own); err != nil {
					return err
				}
				switch {
				case token.ClientID == blocked:
					return fmt.Errorf("app %s is blocked", token.ClientID)
				case own.Plan != "pro":
					return errors.New("the plan must be pro")
				}
				return nil
			}
		})
		good := is.token(t, map[string]any{"plan": "pro", "limits": map[string]int{"orders": 5}})
		wantVerified(t, v, good)
		wantVerified(t, v, good)
		if asked != 2 {
			t.Errorf("%s: the rule was asked %d times, want each time", name, asked)
		}
		if _, err := v.Verify(t.Context(), is.token(t, nil)); !errors.Is(err, m2m.ErrInvalidToken) || !strings.Contains(err.Error(), "the plan must be pro") {
			t.Errorf("%s: %v", name, err)
		}
		// A key that is there twice is read in different ways by others.
		twice := fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":%d,"plan":"pro","limits":{"orders":1,"orders":2}}`, is.URL, shopAPI, is.clock.Now().Unix()+60)
		wantRefused(t, v, is.key.signBytes(t, tokenHeader("key-1"), []byte(twice)), m2m.ErrInvalidToken)
		// What the rule says counts at once.
		blocked = "orders-app"
		wantRefused(t, v, good, m2m.ErrInvalidToken)
		// It is not asked about what is invalid anyhow.
		before := asked
		wantRefused(t, v, is.token(t, map[string]any{"exp": is.clock.Now().Unix() - 60}), m2m.ErrInvalidToken)
		if asked != before {
			t.Errorf("%s: the rule was asked about a token that has expired", name)
		}
	}
}

func TestWhatIsRememberedIsStillJudged(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier(t, func(c *m2m.VerifierConfig) { c.Remember = 10 })
	now := is.clock.Now().Unix()
	short := is.token(t, map[string]any{"exp": now + 60})
	wantVerified(t, v, short)
	wantVerified(t, v, short)
	is.clock.Add(2 * time.Minute)
	wantRefused(t, v, short, m2m.ErrInvalidToken)

	long := is.token(t, map[string]any{"exp": now + 7*24*3600})
	wantVerified(t, v, long)
	// The key is withdrawn, and the next fetch tells.
	next := newECKey(t, "key-2", jose.ES384, elliptic.P384())
	is.publish(next)
	is.clock.Add(time.Minute)
	wantVerified(t, v, next.sign(t, tokenHeader("key-2"), is.claims(nil)))
	wantRefused(t, v, long, m2m.ErrInvalidToken)

	// Another key in its place, under the same kid.
	stranger := newECKey(t, "key-1", jose.ES384, elliptic.P384())
	is.publish(stranger)
	is.clock.Add(25 * time.Hour)
	wantRefused(t, v, long, m2m.ErrInvalidToken)

	// While the issuer is down what it has signed is good for as long as its keys are.
	is.publish(is.key)
	is.clock.Add(25 * time.Hour)
	wantVerified(t, v, long)
	is.answerKeys(answerStatus(http.StatusBadGateway))
	is.clock.Add(48 * time.Hour)
	wantVerified(t, v, long)
}

func TestMoreTokensThanAreRemembered(t *testing.T) {
	is := newIssuer(t)
	for _, size := range []int{1, 2, 7} {
		v := is.verifier(t, func(c *m2m.VerifierConfig) { c.Remember = size })
		var tokens []string
		for i := range 20 {
			tokens = append(tokens, is.token(t, map[string]any{"jti": fmt.Sprint(i)}))
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for round := range 3 {
					for i, token := range tokens {
						got, err := v.Verify(t.Context(), token)
						if err != nil || got.ID != fmt.Sprint(i) {
							t.Errorf("size %d, round %d: token %d: %v, %v", size, round, i, got, err)
						}
					}
				}
			})
		}
		all.Wait()
	}
}

// A tenant of Logto Cloud with a custom domain has two addresses. Which one a token was got at is its issuer, and an API takes
// those of the one that it names.
func TestACustomDomainIsAnIssuerOfItsOwn(t *testing.T) {
	const own, custom = "https://abc123.logto.app/oidc", "https://auth.shop.example/oidc"
	key := newECKey(t, "key-1", jose.ES384, elliptic.P384())
	// As Logto does: discovery says the address that it was asked at.
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oidc/jwks" {
			writeJSON(t, w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.private.Public(), KeyID: "key-1", Algorithm: "ES384", Use: "sig"}}})
			return
		}
		issuer := "https://" + r.Host + "/oidc"
		writeJSON(t, w, map[string]string{"issuer": issuer, "jwks_uri": issuer + "/jwks"})
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	transport.TLSClientConfig.ServerName = "example.com" // which the test's certificate is for
	t.Cleanup(transport.CloseIdleConnections)
	for _, issuer := range []string{own, custom} {
		v, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: issuer, Audience: shopAPI, HTTPClient: &http.Client{Transport: transport}, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{own, custom} {
			token := key.sign(t, tokenHeader("key-1"), map[string]any{"iss": from, "aud": shopAPI, "exp": time.Now().Unix() + 600})
			_, err := v.Verify(t.Context(), token)
			if (err == nil) != (from == issuer) || err != nil && !strings.Contains(err.Error(), issuer) {
				t.Errorf("a token of %s at an API that takes %s: %v", from, issuer, err)
			}
		}
	}
}
