//go:build soak

package main

import (
	"os"
	"testing"
	"time"
)

// TestSoak goes on for SOAK, such as 5m or 8h, from M2MJOBS_SEED on.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil || length <= 0 {
		t.Fatalf("SOAK=%q: want how long, such as 5m or 8h", os.Getenv("SOAK"))
	}
	soakFor(t, length, 1<<30, uint64(fromEnvironment(t, "M2MJOBS_SEED", int(time.Now().UnixNano()%1e9))))
}
