#!/bin/sh
# test.sh LOG: every Go test, then the end-to-end tests; then a search of all that they printed for secrets and tokens, and how
# many passed. Whatever fails, the rest runs all the same. The race detector is on, but for the command, whose tests start it as a
# process a hundred times over (what it is made of is tested in its own packages), and for rows of a gigabyte.
set -u
log=$1
rm -f "$log" "$log.deployed" "$log.others"
wrong=0
# shellcheck disable=SC2046 # one argument a package
sh tools/gotest.sh "$log" -race -timeout 5m $(go list ./... | grep -v /cmd/) || wrong=1
sh tools/gotest.sh "$log" -timeout 5m ./cmd/... || wrong=1
sh tools/gotest.sh "$log" -timeout 5m -run 'Gigabyte|MillionDeep' ./internal/customdata || wrong=1
# Those of the deployed stack take turns and mostly wait; the others have an emulator of their own meanwhile.
sh tools/gotest.sh "$log.deployed" -count=1 -timeout 10m -parallel 4 -tags e2e -run '^TestDeployed' ./e2e/... &
sh tools/gotest.sh "$log.others" -count=1 -timeout 10m -parallel 4 -tags e2e -skip '^TestDeployed' ./e2e/... || wrong=1
wait $! || wrong=1
cat "$log.deployed" "$log.others" >>"$log"
rm "$log.deployed" "$log.others"
sh tools/leaks.sh "$log" || wrong=1
sh tools/summary.sh "$log" || wrong=1
exit "$wrong"
