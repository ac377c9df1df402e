#!/bin/sh
# gotest.sh LOG ARGUMENT...: runs `go test -v ARGUMENT...`, adds its whole output to LOG, and shows a line for each
# package, with all the output of those that fail.
set -u
log=$1
shift
mkdir -p "$(dirname "$log")"
status=$(mktemp)
trap 'rm -f "$status"' EXIT
{
  go test -v "$@" 2>&1
  echo $? >"$status"
} | tee -a "$log" | awk '
  /^(ok  |\?   )\t/ { print; fflush(); held = 0; next }
  /^\t.*coverage: 0.0%|\[no test files\]$/ { print; next }
  /^=== (RUN|PAUSE|CONT|NAME)/ || /^ *--- PASS/ { next }
  { hold[held++] = $0 }
  /^FAIL\t/ { for (i = 0; i < held; i++) print hold[i]; fflush(); held = 0 }
  END { for (i = 0; i < held; i++) print hold[i] }'
code=$(cat "$status")
exit "${code:-1}"
