// Package m2m gets access tokens for an application (not a user), keeps them, sends them where they belong, and
// verifies them where they arrive. It is written for Logto (https://logto.io) and for programs that run now and then:
// Lambda functions, cron jobs, workers.
//
// # The usual case
//
// A Source gets and keeps the token, a Transport sends it, and everything above is an ordinary http.Client:
//
//	source, err := m2m.NewSource(m2m.Config{
//		Credentials: m2m.FileCredentials("app.json"), // or secretsmanager.New(...)
//		Resource:    "https://shopping.api",
//		Scopes:      []string{"read:orders"},
//	})
//	...
//	client := &http.Client{Transport: &m2m.Transport{Source: source, Origin: "https://shop.example.com"}}
//	resp, err := client.Get("https://shop.example.com/orders?placedOn=1997-03-24")
//
// The API on the other side checks what it gets:
//
//	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
//		Issuer:   "https://tenant.logto.app/oidc",
//		Audience: "https://shopping.api",
//	})
//	...
//	http.Handle("GET /orders", verifier.Middleware("read:orders")(ordersHandler))
//
// # Tokens
//
// The grant is client_credentials (RFC 6749 section 4.4), the client authenticates by client_secret_basic (section
// 2.3.1), and the API is named by a resource indicator (RFC 8707). A Source makes one request when it is first asked
// and none until shortly before the token expires; then one goroutine asks for the next token while everybody else
// goes on with the one at hand. A caller waits for the network only if there is no valid token, and no longer than its
// own context allows; that it gives up is nothing to the others who wait for the same request.
//
// Logto drops a scope that was not granted and answers 200 all the same. A Source compares what it got with what it
// asked for and fails with a *ScopeError that says where to grant the rest, rather than leave that to a 403 later.
//
// Each new process costs a token, which some tenants have a quota of. With a Config.Cache, processes and Lambda
// environments share them: FileCache keeps them on a disk, pkg/m2m/dynamodb in a table, sealed so that they are nothing without the
// app secret. A token at hand costs no more with a cache than without.
//
// # Environments that freeze
//
// A Lambda environment stands still between two invocations, a laptop sleeps. A token counts as valid only if the wall
// clock and the monotonic clock both say so, since either may have stood still; a request that was in flight
// when the environment froze is given up by its age on the wall clock and made anew; and a connection that died
// meanwhile costs a retry, not an error. Call Source.Wait before a handler returns, so that there is nothing in flight.
//
// # Secrets that are rotated
//
// Only a request for a token needs the secret, once in the life of a token. So that is when a Source sees whether there is
// another: credentials that were read more than five minutes ago are read again first, and an invocation that has its token
// reads nothing. If they can't be read, those at hand serve. A secret that is refused all the same is read again once, and only
// if it changed is the request repeated. So a secret that was replaced is out of use as soon as the tokens are that it got.
//
// # Errors
//
// What the token endpoint refuses comes as a *TokenError that matches one of the sentinels (ErrWrongSecret,
// ErrSecretExpired, ...) and says what to do. What is temporary (network errors, 5xx, 429) was retried already when
// an error arrives. A token that is refused by the API itself is replaced once, unless it was minted just now: then
// every other would be refused too, and Transport fails with a *RejectedError.
//
// # What keeps the secret
//
// No error, log line or printed value of this package contains a secret or a token; the secret is of a type that does not
// print at all (Secret). Secrets, tokens and keys go over TLS 1.2 or newer; http is refused for every address but loopback ones.
// The request that carries the secret follows no redirect, a token goes to its origin only, keys are fetched from one
// origin. Proxies: see NewBase. What a server answers is read up to a limit.
package m2m
