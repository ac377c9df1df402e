#!/bin/sh
# fuzz.sh TIME: runs every fuzz target of the module for TIME. What fails is kept by Go under the package's
# testdata/fuzz, as a seed of the next `make test`: commit it with the fix.
set -eu
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' cmd functions internal pkg | while read -r file; do
  package=./$(dirname "$file")
  sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file" | while read -r target; do
    echo "$package $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$package" </dev/null
  done
done
