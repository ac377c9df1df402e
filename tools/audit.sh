#!/bin/sh
# audit.sh GOSEC CYCLONEDX: what a person looks at before trusting a build. Says all that is wrong, not only the first.
set -u
gosec=$1
cyclonedx=$2
wrong=0
fail() {
  echo "audit: $1" >&2
  wrong=1
}

# Left out: G104, errors that are dropped on purpose where the code says so; G115, lengths and line numbers, which are never
# negative; G304, files whose names the operator gives. e2e and bench start programs of their own and run nowhere else.
"$gosec" -quiet -exclude=G104,G115,G304 -exclude-dir=e2e -exclude-dir=bench -exclude-dir=.tools ./... ||
  fail 'gosec: mend it, or say why not behind #nosec and the rule'

# The same source gives the same bytes, wherever it lies and whatever was compiled before.
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
mkdir "$dir/elsewhere"
git ls-files --cached --others --exclude-standard | while read -r f; do [ -f "$f" ] && echo "$f"; done | tar -cf - -T - | tar -xf - -C "$dir/elsewhere"
for function in $(ls functions); do
  target=build-$(echo "$function" | awk -F- '{ for (i = 1; i <= NF; i++) printf "%s%s", toupper(substr($i, 1, 1)), substr($i, 2) }')Function
  make --no-print-directory "$target" ARTIFACTS_DIR="$dir/one/$function" >"$dir/log" 2>&1 &&
    (cd "$dir/elsewhere" && GOCACHE="$dir/cache" make --no-print-directory "$target" ARTIFACTS_DIR="$dir/two/$function") >"$dir/log" 2>&1 ||
    { cat "$dir/log" >&2; fail "$function does not build"; continue; }
  if cmp -s "$dir/one/$function/bootstrap" "$dir/two/$function/bootstrap"; then
    echo "$function: $(sha256sum "$dir/one/$function/bootstrap" | cut -d' ' -f1), the same in two builds"
  else
    fail "$function: two builds differ"
  fi
  mkdir -p bin
  "$cyclonedx" bin -json -noserial -notimestamp -version v0.0.0 -output "bin/$function.cdx.json" "$dir/one/$function/bootstrap" 2>"$dir/log" ||
    { cat "$dir/log" >&2; fail "$function: no list of its parts"; }
done
[ "$wrong" -eq 0 ] && echo "audit: nothing to say; what each function is made of: $(ls bin/*.cdx.json | tr '\n' ' ')"
