// Package logto calls the parts of Logto's Management API that jobs need: find users, read them, and write their custom data;
// and those that the rotation of app secrets needs.
//
// A Client takes an http.Client that adds the access token; one over an m2m.Transport does, and also repeats what may be
// repeated and slows down on 429:
//
//	client, err := logto.NewClient(logto.Config{
//		Endpoint:   "https://{tenant-id}.logto.app",
//		HTTPClient: &http.Client{Transport: &m2m.Transport{Source: source}},
//	})
//	...
//	found, err := client.UsersBy(ctx, logto.ByEmail, []string{"ann@example.com", "bob@example.com"})
//	...
//	for _, user := range found["ann@example.com"] {
//		want := map[string]any{"plan": "pro"}
//		if !logto.EqualData(user.CustomData["plan"], want["plan"]) {
//			_, err = client.MergeCustomData(ctx, user.ID, want)
//		}
//	}
//
// # The token
//
// It must be for the Management API, whose resource indicator ManagementResource derives from the endpoint, and have the scope
// "all". Logto grants what the app's machine-to-machine roles contain and silently drops the rest; a token without the scope
// ends in ErrForbidden here.
//
// # Few requests
//
// A tenant of Logto Cloud takes 200 requests in 10 seconds, its users' sign-ins included. UsersBy therefore finds up to 100
// users with one request, with their custom data, so that a job can compare first and write only what differs.
//
// # Custom data
//
// Custom data is a JSON object that passes through JavaScript and PostgreSQL. What would not come out as it went in is refused
// before it is sent (CheckCustomData): integers past 2^53 and decimals of more digits than a double has, text with U+0000 or
// broken UTF-8, more than 1 MiB. Read it from JSON with ParseCustomData, compare it with EqualData; numbers stay json.Number, so
// no digit is lost here either.
//
// MergeCustomData sets top-level keys and leaves the others, so that several writers of different keys don't disturb each
// other; a nested object is replaced whole. A key can only be removed by ReplaceCustomData, which overwrites what others wrote
// since.
//
// # App secrets
//
// An app may have several secrets at a time, all of them valid. CreateAppSecret makes one more, DeleteAppSecret ends one, and
// SecretUses tells from Logto's audit log which was used when: so a secret can be replaced without a moment in which there is
// none, and the old one be deleted once nobody uses it.
//
// # Errors
//
// An answer other than success is an *Error, whose message names the request, the answer, the request id and what to mend. The
// sentinels (ErrNotFound, ErrRateLimited, ...) tell apart what a program can act on. Everything else wraps the cause: a
// context's error, or one of package m2m where no token was to be had.
//
// # Tests
//
// Package logtotest is a tenant in memory that answers as a real Logto was recorded to.
package logto
