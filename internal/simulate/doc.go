// Package simulate tells how long a sync of many users takes and what it costs, without waiting for it. It is tests alone:
//
//	make simulate
//
// They drive the real job: the handler, its checkpoints and continuations, the governor, tokens and repeated requests, HTTP and the
// tenant of logtotest, which has a user for each row and answers in the recorded server's time. Only the clock is virtual
// (testing/synctest), and the connections are pipes. A case is a number of users, the share of them that the rows change, and
// the tenant: one with Logto Cloud's limit, of which the job takes half, or a server of one's own.
//
// # What is assumed
//
// An invocation may take 15 minutes, and the next one follows at once, as the state machine does it, in the same environment,
// which is warm then. One that is not would add a cold start of some tenths of a second and, without TOKEN_CACHE, a token.
// Nothing is lost on the way to Logto, which is no longer than a pipe; the store is in memory and the files are on a disk. What
// S3, DynamoDB and the state machine take and cost is not in the figures.
//
// One read and one write in 66 goes wrong: by 503, or by a connection that is cut, before or after the request took effect; and
// one write in 20,000 by 429. So faults grow with the requests, and sizes can be compared.
//
// A client's own work takes no time: with 256 MB a function has a seventh of a processor, which is more than ten requests a second
// need, and may be less than a quick server of one's own keeps busy.
//
// # The same in every run
//
// Events come in the order of virtual time. What is random is seeded (the governor's pauses) or its mean (those before a request is
// repeated). What happens at the same virtual instant is ordered by Go's scheduler, which with one processor (GOMAXPROCS, set
// by the tests) does the same each time, unless a file makes it wait or a busy machine interrupts it. The one place where that
// mattered much, whether a read or a write goes first, is settled by ten microseconds. So requests are the same in every run,
// and times at Logto Cloud's limit, but for a lookup that is or is not under way when an invocation ends; on a server of one's own
// times have differed by less than a thousandth. Hence they are printed with three digits.
package simulate
