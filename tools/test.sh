#!/bin/sh
# test.sh LOG: every Go test, with the race detector, then the end-to-end tests; then a search of all that they printed for
# secrets and tokens, and how many passed. Whatever fails, the rest runs all the same.
set -u
log=$1
rm -f "$log"
wrong=0
sh tools/gotest.sh "$log" -race -timeout 5m ./... || wrong=1
sh tools/gotest.sh "$log" -count=1 -timeout 10m -parallel 4 -tags e2e ./e2e/... || wrong=1
sh tools/leaks.sh "$log" || wrong=1
sh tools/summary.sh "$log" || wrong=1
exit "$wrong"
