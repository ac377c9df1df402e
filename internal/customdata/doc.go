// Package customdata is the job that brings the custom data of Logto's users up to date, from rows.
//
// A row names one user and what to write. As NDJSON, one row a line:
//
//	{"primaryEmail": "ann@example.com", "customData": {"orders": {"asOf": "1997-03-24", "total": 12.5}}, "remove": ["trial"]}
//
// It has exactly one of id, primaryEmail, username and primaryPhone; customData, an object, which may be left out where
// there is remove; and optionally remove, a list of keys. No member, and no key of customData, comes twice; deeper within
// a value the last of two counts, as in JavaScript. As CSV, the first column is one of these four keys and the others are
// keys of the custom data: text, unless the header says name:int, name:float, name:bool or name:json:
//
//	primaryEmail,plan,visits:int,vip:bool,address:json
//	ann@example.com,gold,7,true,"{""city"":""Oslo""}"
//
// An empty cell leaves the key alone, whatever the column's type. To write an empty text, make the column name:json and
// the cell the JSON text "", which CSV quotes as """""" (six quotes). Blank lines, a byte order mark and Windows' line ends
// are fine.
//
// A file's kind is told by its name: .ndjson and .jsonl, or .csv; compressed, with .gz or .zst after it. It may have any
// size, on disk and in S3: it is read as a stream, and a row has at most about 1 MB. Of zstd, at most 8 MiB of window are
// taken, which is what its command uses up to level 19.
//
// # What a run does
//
// It takes the rows in the file's order and does three things at the same time: it reads the users of the next rows (at most 100
// by one request for each kind of key), writes those before (only the top-level keys that differ, as Logto would store them; up to
// 16 users side by side), and settles what is done. A key of the custom data is always written whole: Logto merges the top level
// alone. Rows of one user take effect in the file's order, also where one names it by id and another by e-mail address. A write
// that is slow holds up its own user, and others only after 2,400 rows or 8 MB of them, which is what may be under way.
//
// Every row ends in one count:
//
//	changed      written (with dryRun: wouldChange, and nothing is written)
//	unchanged    Logto has it already
//	stale        the user has a newer value of the field that "newer" names
//	missing      no such user
//	rejected     the row can't be used; the reason says why
//	conflict     of a plan, or a run that is taken back: somebody else changed the same keys since, and it was left as it is
//
// A row whose write did not go through (no answer, 429, 5xx) is rejected, and so are all later rows of that user in the
// file: synced again in their order they take effect as they would have.
//
// Missing and rejected rows are kept with line, reason and the row as it came (jobs.Run.Reject). A run fails only where
// going on makes no sense: no token, a file whose header can't be read, users that can't be read, or no write of a batch
// that goes through. It can then be run again: what is written already is unchanged the second time.
//
// # Removing keys
//
// The only way to remove a key is to replace the whole of a user's custom data. For a row whose remove names a key that
// the user has, the user is read once more and replaced right after. What somebody else writes to that user's custom
// data between these two requests is lost, and no header prevents it (Logto ignores If-Match). The window is the time of
// these two requests; rows without remove, and rows whose keys are gone already, have none.
//
// # Older rows
//
// "newer": "orders.asOf" names a field that says how new a row's data is: a text that sorts by time (dates and times in
// one form, such as 1997-03-24) or a number. A row with a smaller value than the user has is stale. An equal one, or a
// user that has none, is written as usual. So a backfill never puts old totals over new ones. It is compared with the
// custom data read for the batch, seconds before the write, and protects against older rows, not against two runs that
// write the same users at the same moment.
//
// # Plan, apply, undo
//
// {"action": "plan"} writes down what rows would change, and nothing to Logto. All rows of a user, also one by id and one by e-mail
// address, come to one line of the plan, by a sort on the disk, so that memory has a bound:
//
//	{"id":"551vi8z8tdm8","customData":{"plan":"pro"},"remove":["trial"],"before":{"plan":"free","trial":true},"lines":[3,17]}
//
// The first line says what the plan was made for, the last that it is whole. {"action": "apply", "plan": "…"} does what the lines say
// for users who still have what is under before; the others are conflicts, unless "force" is given.
//
// "onlyKeys", "limit" and "failAbove" bound what a plan or a sync may change. A sync with failAbove makes a plan, looks at its
// shares, and applies it.
//
// Before a run overwrites or removes something it keeps what was there, in undo/RUNID/ of the output; {"action": "undo", "run":
// "…"} restores that key by key, where nobody changed the value since. These files are personal data. In S3 they are encrypted by
// the bucket and expire by its lifecycle; on a disk they are encrypted here, by AES-GCM, with Config.SealKey. Messages of a queue
// keep nothing. A plan is not encrypted on a disk, nor, as long as an undo runs, what it takes back: both are for their owner alone.
//
// A run that is not over yet is not to be taken back: what it writes after that stays. Cancel it first.
//
// # Stopping and going on
//
// There is a checkpoint after 100 writes, or a second, or when the run stops: how far the file's rows are all done. Short of
// time, a run starts no more writes, saves how far it got, and goes on in its next attempt. An attempt that dies leaves at most
// the rows under way to be looked up again, which then finds much of them unchanged. A checkpoint is the offset of a record's
// end, and reading goes on from there; a compressed file can't be entered in the middle and is unpacked from its start, without
// looking at the rows that are done (less than a second for a million of them). All attempts read the same version of the file.
// If it is another one by then, it is read from the start. While a plan is made, a checkpoint comes with each 4 MB of rows; a
// run that failed with its plan made makes it anew when it is run again.
//
// Config.Progress is told how far a run is.
//
// A write that got no answer, 429 or 5xx is held against its row only once a later write went through: until then it may be that
// the tenant is down, and after eight such writes the run fails, to go on there another time.
//
// # Where it must not listen
//
// A job that keeps rejected rows as .ndjson in the bucket whose events start it would be started by its own output:
// narrow the event rule to the prefix where the rows arrive.
package customdata
