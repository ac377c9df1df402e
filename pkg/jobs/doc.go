// Package jobs runs scheduled and event-driven jobs on AWS Lambda, or anywhere else: it finds out what invoked the
// function, sees to it that what must run once runs once, stops and continues work that is longer than one
// invocation, and reports what was done.
//
// A function's main is the job and what it runs with:
//
//	type Params struct {
//		Date string `json:"date"`
//	}
//
//	func main() {
//		jobs.Start(jobs.Job[Params]{
//			Name: "daily-orders",
//			Run: func(ctx context.Context, run *jobs.Run[Params]) error {
//				var cursor string
//				if _, err := run.Resume(&cursor); err != nil { // after an interruption: where it was
//					return err
//				}
//				for {
//					next, n, err := fetchPage(ctx, run.Params.Date, cursor)
//					if err != nil {
//						return err
//					}
//					run.Count("orders", n)
//					if next == "" {
//						return nil
//					}
//					cursor = next
//					if err := run.Checkpoint(ctx, cursor); err != nil {
//						return err
//					}
//					if run.TimeLeft() <= 0 {
//						return jobs.ErrUnfinished // to be continued from the checkpoint
//					}
//				}
//			},
//		}, jobs.Config{Stack: "shop", Store: store})
//	}
//
// The same main runs at a terminal, where [Start] runs the job once and prints its report:
//
//	go run ./functions/daily-orders '{"date": "2026-11-23"}'
//
// And the same job runs in a test or a command by [Handler]'s Invoke.
//
// # Triggers
//
// One function takes all of these, by the shape of its payload:
//
//   - EventBridge Scheduler, with this as the schedule's Input, in which Scheduler fills in what stands in angle
//     brackets: {"m2mjobs": {"schedule": "<aws.scheduler.schedule-arn>", "time": "<aws.scheduler.scheduled-time>",
//     "attempt": "<aws.scheduler.attempt-number>", "expression": "cron(0 3 * * ? *)", "timeZone": "Europe/Berlin",
//     "params": {…}}}. Expression and time zone, the schedule's own, are for [Job].CatchUp only. Sent by hand, with a
//     schedule's name and a time, the same runs a slot of the past ([ScheduleInput]).
//   - An EventBridge event (keys detail-type and source): its detail is the payload. A classic rule with a schedule
//     expression counts as a schedule, without params.
//   - An SQS batch ({"Records": […]}): each message's body is a payload, or an EventBridge event that a rule has put
//     into the queue (what it says of itself stays in the [Trigger]). The answer names the messages that failed; the
//     others are done. Turn ReportBatchItemFailures on.
//   - A Step Functions batch ({"Items": […]}, and what all items share in "BatchInput"): each item is params. The answer
//     is an array of reports; if an item failed, an error that says which. A single item is params by hand. Without a
//     BatchInput an item may also be a slot: a schedule's envelope as above, or a [Continuation]. Then its report alone says
//     how it ended, because the slots beside it did not fail. One for which the others left no time is "unfinished", and is
//     to be continued; if it was not begun it has no run id, and is to be sent again.
//   - Any other object: params by hand. Nothing, and null, are {}.
//   - A [Continuation].
//
// All else is an error that says what was seen and what is accepted; so is a direct notification of S3 or SNS (use
// EventBridge), and an HTTP request. The key "m2mjobs" belongs to the framework: params that have it are refused.
// Params are decoded strictly ([Decode]) unless the job does it itself ([Job].Params).
//
// # Slots
//
// A slot is what must run once:
//
//	shop/daily-orders/nightly/2026-11-24T03:00:00Z    a schedule's run: stack, job, schedule, scheduled time (ScheduleSlot)
//	shop/daily-orders/event/6a7e8feb-b491-…           an event's, by its id
//	shop/daily-orders/params/18e437613d9b5cbd…        by hand or of an item: a digest of the params and of [Job].Digest
//
// Schedules of one stack and job must differ in name, whatever group they are in; give them names in the template, so
// that a redeploy keeps them. Messages have no slot: a queue delivers them until they are done, so that what they do
// must converge by itself. They cannot be continued either: one that returns ErrUnfinished is delivered again.
//
//   - A done slot does not run again: the report is the first run's, with "duplicate": true. But a run by hand that is
//     done runs anew, unless the same request is only delivered twice; and so does a slot with "rerun": true.
//   - A failed or unfinished one goes on, from its checkpoint, as the next attempt of the same run, by whatever way it
//     comes: Lambda's retry, a redrive, a continuation. If a schedule's params were corrected meanwhile it starts over
//     with the new ones.
//   - But a run by hand that stopped more than 24 hours ago does not go on: invoked again, it begins anew. Who repeats
//     such a request the next day wants it done, not its remains of the day before.
//   - One that is under way is left alone: the report says "inProgress": true, without an error.
//   - A cancelled one stays so: the outcome is "cancelled", without an error. A run by hand and "rerun": true run anew.
//
// A run holds its slot by a lease until the invocation's deadline (24 hours if there is none). Lambda's own retry has
// the same request id, and takes the lease of the attempt that was killed over at once; another invocation must wait
// for its end. Every claim has a higher fence than the one before, and a Store takes nothing under an old one.
//
// # Schedules: overlap, and slots that were missed
//
// The slots of a schedule follow one another. What becomes of one whose time comes while another still runs, or is
// unfinished for less than an hour and so about to be continued, [Job].Overlap says:
//
//   - [OverlapSkip], unless told otherwise: it is not run. The outcome is "skipped", without an error.
//   - [OverlapQueue]: it waits, with the outcome "queued", and is run when the other ends, however that ends: handed to
//     [Config].Continue, or, without that, in the same invocation if time is left. One can wait; a further one is skipped.
//   - [OverlapAllow]: it is run at the same time.
//
// "overlap" in the schedule's envelope counts instead: a backfill says "allow", so that slots of the past neither wait
// for one another nor keep the schedule from running. A retry of a slot that failed gives way like a new one.
//
// With [Job].CatchUp an invocation first runs, in order, the slots of the window before its own that have no record:
// they were never begun, because the schedule did not fire, or the job was paused, or they were skipped. So are, from
// their checkpoints, those whose run died without a word: its lease has ended, or nobody has continued it for an hour.
// Each has its own report, in the log and in the store; the answer is that of the invocation's slot. What does not fit
// into the time fails the invocation, so that its retry goes on there. A missed slot that fails does not keep the
// others from running, but fails the invocation, too; the retry repeats it. The first slot of a new schedule has
// missed all those of its window.
//
// # Pausing and cancelling
//
// [Store].Pause keeps a job from beginning runs: a schedule's slot ends as "paused", without an error, and is missed
// unless there is CatchUp; so does a continuation, which may be sent again later. What is delivered (events, messages)
// or sent by hand fails, so that it stays where it comes from or goes to where failures are kept. Messages, which take
// no slot, believe for a minute what they saw last. Runs under way go on.
//
// [Store].Cancel stops a run at its next Checkpoint, with [ErrCancelled], and one that is not running at once. It ends
// as "cancelled", without an error, so that nothing retries it.
//
// # What is promised
//
// Requests go at least once: an attempt that was killed between a write and the checkpoint after it leaves the next one
// to write again. The effect is once if the job's writes may be repeated, as one that merges the same values may.
//
// Two attempts of one slot do not write at the same time, but for a window: [Run].Alive, called right before each
// write, compares the lease with the wall clock, and ctx ends half a margin before the lease. So a write can only land
// late if its request was under way when the process was frozen, or when the server took it and was slow: at most one
// for each goroutine that writes, and no later than the time-out of one request after the lease's end, plus what the
// server takes by itself. Where that matters, write what is ordered (a version, a date) and compare before.
//
// And for a second one: Lambda may, rarely, deliver one asynchronous request twice at the same time. The second takes the
// lease over as a retry would; the first, if it still lives, learns of it by its next Checkpoint, and writes until then.
//
// An attempt whose lease is lost ends as failed with [ErrLeaseLost], and stores nothing more: no checkpoint, no file,
// no report but in the log.
//
// # Deadlines
//
// A run stops by itself: [Run].TimeLeft is what is left until a margin before the deadline. It makes a Checkpoint and
// returns [ErrUnfinished]; then [Config].Continue is given a [Continuation] to invoke the handler with. Without Continue
// the invocation ends in an error, so that Lambda's retry of an asynchronous invocation goes on. Two attempts in a row
// that leave the checkpoint as they found it end the run with an error: it would never get on. A run that has not
// stopped when half of the margin is over is stopped by its context; it is continued if it has made a checkpoint in
// this attempt, and fails if not. The other half is for saving and reporting.
//
// A checkpoint has the job's own progress (anything that marshals to JSON; keep it small, a cursor, not rows), the
// counts and the rejected rows. What an attempt counted and rejected since its last checkpoint is dropped with it. One
// that a deployment with another [Job].CheckpointVersion left, or that cannot be read, is not used: the run starts over,
// and its log and report ("startedOver") say so. A job that finds the checkpoint worthless, because its source was
// replaced, calls [Run].Restart.
//
// # Reports, logs and metrics
//
// Each run, each message and each item ends in exactly one [Report]: in the answer (not for a queue), in the [Store],
// for [Config].Report, and in one log line ("msg": "report"), there without the contents of rejected rows, which may be
// personal. Log lines are JSON with job, runId, slot and requestId. A panic fails the run; its stack is in the log alone.
//
// Beside the report stands one line in CloudWatch's embedded metric format, with stack and job as its dimensions:
// finished, failed, unfinished, duplicate, inProgress (0 or 1), duration, requests, retries, tokens, secretReads,
// throttled, waited, rejected, and the job's counts, up to 100 in all; and skipped, queued, paused or cancelled, when
// that is the outcome. They are this attempt's, and of one that is continued those at its last checkpoint, so that their
// sums over time are right: finished is 1 once for each run that is done, for an alarm to watch. Characters other than
// letters, digits and _ . - become _; a count called like one of the above has count_ before its name.
//
// Rejected rows ([Run].Reject) are written by [Config].Keep as rejected/RUNID/00001.ndjson and so on: a part at each
// checkpoint and at the end. A repeated attempt writes the same parts again, so that the parts a report names have each
// row once: the parts 1 to [Rejected].Parts, of which it gives the places of the first ten. If they cannot be written
// the run fails: nothing is lost silently.
//
// # Errors
//
// Invoke returns the report together with the error of a run that failed: Lambda then counts an error, retries an
// asynchronous invocation twice, and hands it to the function's OnFailure destination. The error matches what the job
// returned. Rows that cannot be used are not an error, but a result. What a Store refuses with because of another run
// (ErrDone, ErrHeld, ErrOverlap) never becomes an error of an invocation.
package jobs
