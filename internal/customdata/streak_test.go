package customdata

import (
	"errors"
	"strings"
	"testing"
)

func TestAStreakIsToldByTheFirstFailureThatBelongsToIt(t *testing.T) {
	var s streak
	s.failed(5, errors.New("five"))
	before := s.end() // a write that begins here, and goes through later
	s.failed(7, errors.New("seven"))
	s.passed(before)
	for i := range hopeless - 1 {
		if s.hopeless() {
			t.Fatalf("hopeless after %d failures", i+1)
		}
		s.failed(8+i, errors.New("later"))
	}
	if err := s.error().Error(); !s.hopeless() || !strings.Contains(err, "from line 7 on") || !strings.Contains(err, "(8 in a row)") || !strings.Contains(err, "seven") {
		t.Error(err)
	}
}
