package customdata

// kind is what became of a row, as it is counted.
type kind string

const (
	changed     kind = "changed"
	wouldChange kind = "wouldChange"
	unchanged   kind = "unchanged"
	stale       kind = "stale"
	missing     kind = "missing"
	rejected    kind = "rejected"
	found       kind = "found"    // by a plan; not counted
	conflict    kind = "conflict" // of a plan, or what an undo takes back: somebody else changed the user since
)

// kept tells whether rows that end so are kept with their reason.
func (k kind) kept() bool { return k == missing || k == rejected || k == conflict }

// outcome is what became of a row. Empty: it was not come to.
type outcome struct {
	kind   kind
	reason string
	change Change // of wouldChange
	blocks string // the id of the user whose later rows must not be written after this one
	failed int    // the write did not go through, although it may the next time (429, 5xx, no answer): which such failure, from 1
}
