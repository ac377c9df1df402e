package customdata

// Progress is how far a run is with what it does at the moment. A run may do several things, one after the other: a sync with
// FailAbove makes a plan and applies it.
type Progress struct {
	// Doing is ActionPlan while users are compared with rows, ActionApply while a plan or what takes a run back is written, and
	// ActionSync while rows are.
	Doing Action
	// Rows are those that are done, of a plan its users, earlier attempts included; Changed are those of them that changed their
	// user, or would. While a plan is made it is not known yet, and zero.
	Rows, Changed int64
	// Done of Size is how much of the work there is lies behind the run: users of a plan; bytes of a file's text, of which the
	// size is estimated where it is compressed; or rows of Params.Rows. A Size of zero is not known.
	Done, Size int64
}

// tell tells how far the run is.
func (s *syncer) tell() {
	if s.config.Progress == nil {
		return
	}
	p := Progress{Doing: ActionSync, Rows: s.done.Rows, Changed: s.done.Changed, Done: s.done.Offset, Size: s.size()}
	switch {
	case s.planner != nil:
		p.Doing = ActionPlan
	case s.plan != "":
		p.Doing = ActionApply
		if s.done.Users > 0 { // its lines may have any length
			p.Done, p.Size = s.done.Rows, s.done.Users
		}
	}
	s.config.Progress(p)
}
