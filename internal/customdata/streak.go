package customdata

import "fmt"

// hopeless is how many writes in a row may fail: a tenant that is down is not asked for the whole file.
const hopeless = 8

// streak is the writes in a row that did not go through, by their numbers among all such failures.
type streak struct {
	begin    int // the number of the last failure before it
	failures []failure
}

type failure struct {
	line int
	err  error
}

// passed notes a write that went through, and was begun when there had been so many failures: of later ones it says nothing.
func (s *streak) passed(failures int) {
	if over := failures - s.begin; over > 0 {
		s.begin, s.failures = failures, s.failures[over:]
	}
}

// failed notes a failure and returns its number, and whether it is one too many.
func (s *streak) failed(line int, err error) (number int, isHopeless bool) {
	s.failures = append(s.failures, failure{line, err})
	return s.end(), s.hopeless()
}

// end is the number of its last failure.
func (s *streak) end() int { return s.begin + len(s.failures) }

func (s *streak) has(o outcome) bool { return o.failed > s.begin }
func (s *streak) hopeless() bool     { return len(s.failures) >= hopeless }

func (s *streak) error() error {
	first := s.failures[0]
	return fmt.Errorf("writes from line %d on did not go through (%d in a row), run it again later: %w", first.line, len(s.failures), first.err)
}
