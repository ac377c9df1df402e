package jobs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	defaultStack     = "local"
	defaultNamespace = "m2mjobs"

	// Without a deadline a run must still end some day: its lease would never be free again if its process died.
	longestRun = 24 * time.Hour

	shortestMargin = 2 * time.Second
	longestMargin  = 30 * time.Second
)

// checkOverlap refuses what is no policy.
func checkOverlap(what string, o Overlap) error {
	switch o {
	case "", OverlapSkip, OverlapQueue, OverlapAllow:
		return nil
	}
	return fmt.Errorf("%s %q: want skip, queue or allow", what, clip(string(o), nameLimit))
}

// check returns all that is wrong with a job and its configuration, in one error. Names end up in slots, file names and
// metric dimensions.
func check[P any](job Job[P], c Config) error {
	var wrong []error
	name, hasRun := job.Name, job.Run != nil
	if err := checkOverlap("Job.Overlap", job.Overlap); err != nil {
		wrong = append(wrong, err)
	}
	switch {
	case job.CatchUp < 0:
		wrong = append(wrong, fmt.Errorf("Job.CatchUp %v is negative", job.CatchUp))
	case job.CatchUp > 0 && c.Slots == nil:
		wrong = append(wrong, errors.New("Job.CatchUp is set, and Config.Slots, which tells what was missed, is nil"))
	}
	if !isName(name, 64, "") {
		wrong = append(wrong, fmt.Errorf("Job.Name %q: want 1 to 64 letters, digits and hyphens", clip(name, nameLimit)))
	}
	if !hasRun {
		wrong = append(wrong, errors.New("Job.Run is nil"))
	}
	if c.Stack != "" && !isName(c.Stack, 128, "_") {
		wrong = append(wrong, fmt.Errorf("Config.Stack %q: want 1 to 128 letters, digits, hyphens and underscores", clip(c.Stack, nameLimit)))
	}
	if c.Namespace != "" && !isName(c.Namespace, 255, "._/#:") {
		wrong = append(wrong, fmt.Errorf("Config.Namespace %q: want 1 to 255 letters, digits and . - _ / # :", clip(c.Namespace, nameLimit)))
	}
	if c.Margin < 0 {
		wrong = append(wrong, fmt.Errorf("Config.Margin %v is negative", c.Margin))
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("configuration of the job: %w", errors.Join(wrong...))
}

// withDefaults fills in what the zero values stand for.
func (c Config) withDefaults() Config {
	if c.Stack == "" {
		c.Stack = defaultStack
	}
	if c.Namespace == "" {
		c.Namespace = defaultNamespace
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Store == nil {
		c.Store = NewMemoryStore(c.Now)
	}
	if c.Log == nil {
		c.Log = os.Stderr
	}
	// The log and the metrics are written by different writers and must not run into each other.
	c.Log = &lineWriter{w: c.Log}
	return c
}

// lineWriter writes whole lines, one writer's at a time.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
