package jobs

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxMetrics is how many metrics one embedded metric format document may define (its specification, MetricDirective).
const maxMetrics = 100

// metrics are what one attempt adds, to be summed up over attempts.
type metrics struct {
	outcome  Outcome
	at       time.Time
	duration time.Duration
	usage    Usage
	rejected int64
	counts   map[string]int64
}

// metric is one definition; the value stands beside, under its name.
type metric struct {
	Name  string
	Unit  string
	value int64
}

// identity tells whose a line of metrics is. Stack and job are its dimensions, so that one stack's alarms are not kept quiet by
// another's runs. Each value of a dimension is a metric that is paid for; ids are properties, to search by.
type identity struct {
	Stack     string  `json:"stack"`
	Job       string  `json:"job"`
	RunID     string  `json:"runId"`
	Slot      string  `json:"slot"`
	RequestID string  `json:"requestId"`
	Outcome   Outcome `json:"outcome"`
}

// properties are the names that a metric can't have.
var properties = []string{"_aws", "stack", "job", "runId", "slot", "requestId", "outcome"}

// added are the metrics of an attempt that did some work. Of one that is continued count only those at its last
// checkpoint: what it did since will be done, and counted, again.
func (a *attempt) added(outcome Outcome, used Usage) metrics {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts, rows := a.counts, a.rejects.Rows
	if outcome == OutcomeUnfinished {
		counts, rows = a.saved, a.savedRows.Rows
	}
	now := a.config.Now()
	m := metrics{
		outcome: outcome, at: now, duration: max(0, now.Sub(a.started)), usage: used,
		rejected: rows - a.rejected, counts: maps.Clone(counts),
	}
	for name, n := range a.before {
		m.counts[name] -= n
	}
	return m
}

// metricName makes a metric's name of a count's: each run of other characters becomes one underscore.
func metricName(count string) string {
	parts := strings.FieldsFunc(count, func(r rune) bool { return !isNameRune(r, "_.") })
	return clipName(strings.Join(parts, "_"))
}

// write writes a line.
func (m metrics) write(a *attempt, w io.Writer) error {
	is := func(o Outcome) int64 {
		if m.outcome == o {
			return 1
		}
		return 0
	}
	defined := make([]metric, 0, 20+len(m.counts))
	define := func(name, unit string, value int64) { defined = append(defined, metric{name, unit, value}) }
	define("finished", "Count", is(OutcomeDone))
	define("failed", "Count", is(OutcomeFailed))
	define("unfinished", "Count", is(OutcomeUnfinished))
	define("duplicate", "Count", is(OutcomeDuplicate))
	define("inProgress", "Count", is(OutcomeInProgress))
	define("duration", "Milliseconds", m.duration.Milliseconds())
	define("requests", "Count", m.usage.Requests)
	define("retries", "Count", m.usage.Retries)
	define("tokens", "Count", m.usage.Tokens)
	define("secretReads", "Count", m.usage.SecretReads)
	define("throttled", "Count", m.usage.Throttled)
	define("waited", "Milliseconds", m.usage.WaitedMS)
	define("rejected", "Count", m.rejected)
	if m.usage.TokensThisMonth > 0 {
		define("tokensThisMonth", "Count", m.usage.TokensThisMonth)
	}
	// Each metric is paid for, so that those of the rarer outcomes are there only when they are 1.
	rarer := []Outcome{OutcomeSkipped, OutcomeQueued, OutcomePaused, OutcomeCancelled}
	if slices.Contains(rarer, m.outcome) {
		define(string(m.outcome), "Count", 1)
	}
	own := len(defined)
	find := func(name string) int { return slices.IndexFunc(defined, func(d metric) bool { return d.Name == name }) }
	for _, name := range slices.Sorted(maps.Keys(m.counts)) {
		safe := metricName(name)
		at := find(safe)
		if safe == "" || at >= 0 && at < own || slices.Contains(properties, safe) || slices.Contains(rarer, Outcome(safe)) {
			safe = "count_" + safe
			at = find(safe)
		}
		if at >= 0 { // two names of which the same is left
			defined[at].value += m.counts[name]
			continue
		}
		if len(defined) == maxMetrics {
			a.log.Warn("more counts than a metrics line takes: the others are in the report alone", "first", name, "limit", maxMetrics)
			break
		}
		define(safe, "Count", m.counts[name])
	}
	line, err := m.line(a, defined)
	if err != nil {
		return err
	}
	_, err = w.Write(line)
	return err
}

// line is in CloudWatch's embedded metric format. A metric's name and unit have nothing to escape.
func (m metrics) line(a *attempt, defined []metric) ([]byte, error) {
	line, err := json.Marshal(identity{a.config.Stack, a.job, a.id, a.slot, a.call.requestID, m.outcome})
	if err != nil {
		return nil, fmt.Errorf("marshaling: %w", err)
	}
	namespace, err := json.Marshal(a.config.Namespace)
	if err != nil {
		return nil, fmt.Errorf("marshaling: %w", err)
	}
	line = slices.Grow(line[:len(line)-1], 200+80*len(defined))
	for _, d := range defined {
		line = append(append(append(line, `,"`...), d.Name...), `":`...)
		line = strconv.AppendInt(line, d.value, 10)
	}
	line = strconv.AppendInt(append(line, `,"_aws":{"Timestamp":`...), m.at.UnixMilli(), 10)
	line = append(append(line, `,"CloudWatchMetrics":[{"Namespace":`...), namespace...)
	line = append(line, `,"Dimensions":[["stack","job"]],"Metrics":[`...)
	for i, d := range defined {
		if i > 0 {
			line = append(line, ',')
		}
		line = append(append(append(append(append(line, `{"Name":"`...), d.Name...), `","Unit":"`...), d.Unit...), `"}`...)
	}
	return append(line, "]}]}}\n"...), nil
}

// clipName cuts a metric's name, of which only ASCII is left, well below CloudWatch's 255 characters.
func clipName(s string) string { return s[:min(len(s), 128)] }
