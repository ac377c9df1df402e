package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// pauseLook is how long an answer to whether the job is paused is believed, for messages: one look a minute, so that a
// batch costs the store nothing.
const pauseLook = time.Minute

// pause is what is known of whether the job is paused.
type pause struct {
	mu     sync.Mutex
	looked time.Time
	paused bool
}

// paused returns an error that matches ErrPaused if the job was paused when last looked, at most a minute ago.
func (h *handler[P]) paused(ctx context.Context) error {
	p := &h.pause
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := h.config.Now().Round(0); p.looked.IsZero() || now.Before(p.looked) || now.Sub(p.looked) >= pauseLook {
		paused, err := h.config.Store.Paused(ctx, h.job.Name)
		if err != nil {
			return fmt.Errorf("looking whether the job is paused: %w", err)
		}
		p.looked, p.paused = now, paused
	}
	if p.paused {
		return fmt.Errorf("job %q: %w: the message stays in its queue", h.job.Name, ErrPaused)
	}
	return nil
}
