package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
)

// firstEvents are events that the functions answer without asking anybody, so that what is measured is their start.
var firstEvents = map[string]string{
	function.SyncCustomData: `{"Items":[]}`,
	function.DailyOrders:    `{"Items":[]}`,
	webhook.Name:            `{"requestContext":{"http":{"method":"GET"}}}`,
}

// coldStarts compares the first answer of each function with that of a bare one with the same clients.
func (l *lab) coldStarts(ctx context.Context) ([]result, error) {
	var results []result
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		var ours, theirs, ratios []float64
		for i := range runs + 1 {
			a, err := l.firstAnswer(ctx, l.bootstraps[name], firstEvents[name])
			if err != nil {
				return results, err
			}
			b, err := l.firstAnswer(ctx, l.peers[name], firstEvents[name])
			if err != nil {
				return results, err
			}
			if i == 0 { // the files were not in memory yet
				continue
			}
			ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
		}
		what := fmt.Sprintf("%s, cold: first answer (%.0f ms) beside a bare function with the same clients (%.0f ms)",
			name, median(ours)/1e6, median(theirs)/1e6)
		results = append(results, atMost(what, "%.2fx", 1.25, median(ratios)))
	}
	return results, nil
}

// firstAnswer is how long a function takes from its start to its first answer, in nanoseconds.
func (l *lab) firstAnswer(ctx context.Context, bootstrap, event string) (float64, error) {
	f, err := emulator.StartFunction("bench-cold", bootstrap, map[string]string{
		"AWS_REGION": emulator.Region, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
		"M2M_SECRET_ID": "bench", "OUTPUT": "s3://" + bucket, "STATE_TABLE": table,
		"SHOP_URL": "https://shop.example.com", "SHOP_RESOURCE": resource, "SIGNING_SECRET_ID": "bench", "EVENT_BUS": "bench",
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	_, err = f.Invoke(ctx, []byte(event))
	took := time.Since(began)
	return float64(took), errors.Join(err, f.Close())
}
