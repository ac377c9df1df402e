#!/bin/sh
# summary.sh LOG: how many tests ran, subtests included. A skipped test fails: nobody would notice it. A package that did not
# build, or that crashed before it could name a test, counts as one that failed.
set -u
log=$1
count() { grep -cE "$1" "$log"; }
passed=$(count '^ *--- PASS: ')
failed=$(count '^ *--- FAIL: ')
skipped=$(count '^ *--- SKIP: ')
packages=$(count "^FAIL$(printf '\t')")
[ "$failed" -ge "$packages" ] || failed=$packages
grep -E "^ *--- (FAIL|SKIP): |^FAIL$(printf '\t')" "$log"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ] && [ "$skipped" -eq 0 ]
