#!/bin/sh
# leaks.sh LOG: fails if the test output contains an app secret or an access token. Every secret of the tests begins with
# the same canary; tokens are known by their header. Where they stand is shown, they themselves are not.
set -u
log=$1
for pattern in 'logtotestSecret' 'eyJ[A-Za-z0-9_-]{10,}\.'; do
  lines=$(grep -nE -e "$pattern" "$log" | cut -d: -f1 | head -n 20 | tr '\n' ' ')
  if [ -n "$lines" ]; then
    echo "The tests printed a secret or a token ($pattern), in these lines of $log: $lines" >&2
    exit 1
  fi
done
[ -s "$log" ] || { echo "$log is empty: no test ran" >&2; exit 1; }
echo "no secret and no token in the $(wc -l <"$log" | tr -d ' ') lines that the tests printed"
