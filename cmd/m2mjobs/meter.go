package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/mattn/go-isatty"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/function"
)

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second
	// eraseRest erases from the cursor to the end of the line (ECMA-48, EL).
	eraseRest = "\x1b[K"
)

// meter shows how far a run is: a bar on a terminal, elsewhere a line now and then.
type meter struct {
	w   io.Writer
	bar *pb.ProgressBar // nil: lines

	mu   sync.Mutex
	pace pace
	last function.Progress
	some bool // there is something to show

	stop  chan struct{}
	ended sync.WaitGroup
}

// newMeter begins to show what it is told, until it is closed.
func newMeter(w io.Writer, terminal bool) *meter {
	m := &meter{w: w, stop: make(chan struct{})}
	every := lineEvery
	if terminal {
		every = barEvery
		// The bar takes the room that the columns leave, and no bar is drawn where they leave none.
		m.bar = pb.New64(0).SetTemplateString(`{{bar . "[" "=" ">" " " "]"}} {{string . "columns"}}`)
	}
	m.ended.Go(func() { m.show(every) })
	return m
}

// isTerminal tells whether what is written to w is seen as it is written, and a line of it can be written over.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd()) && os.Getenv("TERM") != "dumb"
}

// update takes how far the run is.
func (m *meter) update(p function.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pace.add(time.Now(), p)
	m.last, m.some = p, true
}

func (m *meter) show(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
			m.draw()
		}
	}
}

// draw shows how far the run is. That it can't be shown is no reason to end it.
func (m *meter) draw() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch columns := m.columns(time.Now()); {
	case !m.some:
	case m.bar == nil:
		fmt.Fprintln(m.w, strings.Join(columns, ", "))
	default:
		m.bar.SetTotal(m.last.Size).SetCurrent(m.last.Done).Set("columns", strings.Join(columns, "  "))
		// Not after the bar: its last letter stands in the last column, where the cursor stays.
		fmt.Fprint(m.w, "\r"+eraseRest+m.bar.String())
	}
}

// columns are what there is to say.
func (m *meter) columns(now time.Time) []string {
	columns := []string{number(m.last.Rows) + " rows"}
	if m.last.Doing != customdata.ActionPlan {
		columns = append(columns, number(m.last.Changed)+" changed")
	}
	if perSecond, ok := m.pace.rows(); ok {
		columns = append(columns, fmt.Sprintf("%.1f rows/s", perSecond))
	}
	if share, ok := m.pace.share(); ok {
		columns = append(columns, fmt.Sprintf("%.0f %% of the budget", 100*share))
	}
	if left, ok := m.pace.left(now); ok {
		columns = append(columns, humanSeconds(left.Seconds())+" left")
	}
	return columns
}

// Write writes lines, above the bar if there is one.
func (m *meter) Write(lines []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
	return m.w.Write(lines)
}

// erase makes room where the bar stands.
func (m *meter) erase() {
	if m.bar != nil && m.some {
		fmt.Fprint(m.w, "\r"+eraseRest)
	}
}

// close ends what is shown.
func (m *meter) close() {
	close(m.stop)
	m.ended.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
}
