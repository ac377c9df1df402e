// Package webhook is the function logto-webhook: it takes Logto's webhooks at a Lambda function URL, and puts them on an
// EventBridge bus, where rules send them to whoever needs them. On a schedule it repairs what Logto could not deliver.
//
//	handler, err := webhook.New(function.Process()) // its environment: see New
//	...
//	lambda.Start(handler)
//
// # A delivery
//
// The raw body's HMAC-SHA256 under the hook's signing key must be what the header logto-signature-sha-256 says, compared
// in constant time. Then there is one PutEvents, and the answer:
//
//	200  the event is on the bus, or was left out as an echo (below)
//	400  signed, but no event of Logto
//	401  the signature is missing or wrong
//	405  not POST
//	413  more than 256 KB
//	503  the bus did not take it, or the signing key could not be read
//
// The answer never says why; the log does. The signing key is read at the first delivery. If a signature does not fit,
// the key is read again, at most once a minute, because it may have been rotated.
//
// # The event on the bus
//
// Its source is "logto", its detail-type Logto's name for it (User.Created), its time when it happened, and its detail
// an [Event]. Of the user's data it has the fields that EVENT_FIELDS lists and no others: "id" alone by default, as a
// receiver can ask Logto for the rest, and an event is kept in more places than one thinks (archives, queues, logs).
// A detail that EventBridge would refuse (256 KB) goes without data, and says so.
//
// # Echoes
//
// A job that writes a user fires User.Data.Updated, even if nothing changed (recorded: webhook-custom-data-noop). A rule
// that starts the job by that event would go round for ever, at the tenant's cost. So the receiver leaves those
// events out; no rule can forget to:
//
//   - User.Data.Updated of the route /users/:userId/custom-data, whoever wrote. Custom data belongs to the jobs.
//   - User.Data.Updated whose userAgent begins with [UserAgent], whatever the route: package logto's Client sends it. (Logto's
//     source puts the header of the request that caused the event there; the record has none, as its requests had no such
//     header.)
//
// All other updates pass: a changed name or address, the end user's own changes. A job that writes by another client must
// send the User-Agent. A rule can narrow further, as matchedRoute is in the detail:
//
//	{"source": ["logto"], "detail-type": ["User.Data.Updated"], "detail": {"matchedRoute": [{"anything-but": "/users/:userId"}]}}
//
// # What was not delivered
//
// Logto delivers once. A delivery that failed, whatever its documentation says of retries, is not tried again (recorded).
// It stays with its body in GET /api/hooks/{id}/recent-logs. [Repair] is a job that reads them and puts on the bus what
// never arrived: run it by a schedule, often.
//
// A delivery has no id. It is known by a digest of its body ([Digest]), which the event on the bus carries as "delivery",
// and which the job's store remembers, so that it is put once however often Repair runs. Logto keeps the body as a JSON
// object whose keys come back in another order, so it is the digest of the body with its keys sorted.
//
// An answer of ours that came too late (Logto waits 10 seconds) is a failure to Logto, though the event is on the bus. So an
// event may be there twice, and a receiver that must not do it twice compares "delivery".
//
// Recent logs reach back 24 hours by themselves, and further by start_time for as long as the tenant keeps its audit log
// (Logto 1.42's OpenAPI document). The parameter lookBack says how far Repair looks; one request reads 100 deliveries.
package webhook
