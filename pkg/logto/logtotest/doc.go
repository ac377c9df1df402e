// Package logtotest is a Logto tenant in memory, for tests of what talks to Logto, as net/http/httptest is for HTTP.
//
// A Tenant is a real HTTP server on 127.0.0.1 that gives tokens and answers the Management API as Logto 1.42 was recorded to:
// statuses, codes, messages, headers, and what it stores. Nothing of your code is replaced by a mock; it gets the tenant's URL
// where it would get Logto's.
//
//	func TestSync(t *testing.T) {
//		tenant := logtotest.New(t) // closes when the test ends
//		app := tenant.AddApp("sync")
//		tenant.Grant(app.ID, logtotest.ManagementResource, "all")
//		ann := tenant.AddUser(logtotest.User{PrimaryEmail: "ann@example.com", CustomData: map[string]any{"plan": "free"}})
//
//		... run your code with tenant.URL, app.ID and app.Secret ...
//
//		if plan := tenant.CustomData(ann)["plan"]; plan != "pro" {
//			t.Errorf("plan is %v", plan)
//		}
//		if n := tenant.Requests("POST /oidc/token"); n != 1 {
//			t.Errorf("%d token requests", n)
//		}
//	}
//
// Start makes one without a test, for a demonstration or a main package; Config has its limits and its clock.
//
// # Tokens
//
// POST /oidc/token gives tokens for client_credentials: signed with ES384, with the claims and the errors of the real one. As
// with Logto a scope that was not granted is dropped and the answer is still 200; AddResource, Grant and Revoke say what is
// granted, also while the tenant runs. AddAppAs makes an app whose id and secret are known already; AddSecret and DeleteSecret
// change secrets, RotateKeys the signing keys, AddOrganization and JoinOrganization make tokens of an organization. Sign makes any
// token, true or wrong, for tests of an API that verifies them; Issuer is its iss.
//
// Where tokens are not the matter, ManagementClient is an http.Client that bears one.
//
// # Routes
//
// These routes exist; their names are what Requests counts, Fault takes and Routes lists. Everything else is 404, "Not Found", as
// Logto says it.
//
//	GET /oidc/.well-known/openid-configuration
//	GET /oidc/jwks
//	POST /oidc/token
//	GET /api/users                             search.{property}, mode.{property} (exact, like), isCaseSensitive, joint, page, page_size
//	POST /api/users
//	GET /api/users/{id}
//	PATCH /api/users/{id}
//	DELETE /api/users/{id}
//	GET /api/users/{id}/custom-data
//	PATCH /api/users/{id}/custom-data
//	PATCH /api/users/{id}/is-suspended
//	GET /api/applications/{id}
//	GET /api/applications/{id}/roles
//	GET /api/applications/{id}/secrets
//	POST /api/applications/{id}/secrets
//	DELETE /api/applications/{id}/secrets/{name}
//	GET /api/roles/{id}/scopes
//	GET /api/resources
//	GET /api/logs                              applicationId, logKey
//	GET /api/hooks/{id}/recent-logs            logKey
//
// # What goes wrong
//
// Inject scripts faults: a status, latency, a connection that is cut before or after the request took effect, a body that
// trickles; by route, after so many requests, so many times. Config.CloudLimit and SetCloudLimit enforce Logto Cloud's 200
// requests per 10 seconds, Config.TokenQuota the monthly tokens of a development tenant.
//
// # What takes time
//
// Nothing does, unless Config.Work says how long the server works on a request, and for how much of that alone. RecordedWork makes
// it as fast as the recorded server: faster with several requests at once, up to a knee. Config.CloudSpeed makes Logto Cloud's
// limit refill faster.
//
// # Webhooks
//
// AddHook posts events of users, signed as Logto signs them, once each; FlushHooks waits for them; Signature computes a
// signature for a test of a receiver. Failed deliveries stay in the hook's recent logs.
//
// # Time
//
// Config.Now is the tenant's clock: what it dates, lets expire and limits. For testing/synctest, give it a PipeListener, made
// inside the bubble: then no socket is used and the bubble's clock runs. Your http.Transport needs the listener's DialContext.
//
// # Secrets
//
// Every app secret and signing key begins with logtotestSecret, so that a test can search logs and errors for a leak.
//
// # How true it is
//
// The package's own test replays all 88 exchanges of a record of a real server and compares status, headers, ETag, length and
// body; tokens and webhooks are compared with recorded ones. What was not recorded and is from Logto's documentation or source
// instead: the answers 429, 304 for a known ETag, the recent logs of a hook, a webhook's userAgent, creating and deleting
// users, suspending them, and tokens of an organization. Passwords, sign-in, and the rest of the Management API are not there.
package logtotest
