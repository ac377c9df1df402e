// Package rotation replaces app secrets of Logto without an outage: in Secrets Manager by the four steps of its rotation
// (functions/rotate-secret), and by hand there or in a file (m2mjobs rotate).
//
// # How a secret is replaced
//
// An app may have several secrets at a time, so the new one is valid before anybody gets it, and the old one for as long as
// somebody may have it:
//
//	Create  a second secret in Logto, named after the version that it is to be, and that version, labelled AWSPENDING
//	Test    a token with it for each API that the app's roles name, with no scope less than with the current one
//	Finish  the label AWSCURRENT moves: whoever reads the secret from now on gets the new one
//	Clean   a later run deletes the old one, once it is proven that nobody uses it
//
// Each may be repeated, and may have been stopped after any of its requests: what is there is found by its name, and is
// not made again. A rotation that dies leaves the current secret valid; secrets that it made are found by Clean.
//
// The new secret has no expiry. One would turn a rotation that stalls, which nobody need notice for weeks, into an outage at
// a known time. That a secret grows old is told by Job's count oldestDays, and an alarm on it.
//
// # What is deleted, and what is not
//
// Clean deletes a secret of the app only if all of this holds:
//
//   - its name is one that this package gives to secrets of this very place. Secrets of people, and those of another stack that
//     uses the same app, are never touched;
//   - it is neither the current nor a pending version, by its name and by its value;
//   - nothing was changed in the place for the quiet time: the longest lifetime of the tenant's access tokens and of
//     an execution environment together;
//   - a token was got with the current secret just now, so that deleting the other leaves one that works;
//   - Logto's audit log has that very request, so it is alive, and reaches back further than the quiet time, and has no
//     request with the secret in it.
//
// # Access
//
// All of this needs the Management API's scope all, the same that reads and deletes users. Config.Logto gives a client that has
// it: in the function by the app of its own, in the command by default with the secret that is to be replaced.
//
// No error, log line or printed value of this package contains a secret.
package rotation
