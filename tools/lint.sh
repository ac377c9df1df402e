#!/bin/sh
# lint.sh STATICCHECK TOOLS: everything that is checked without running the code. Says all that is wrong, not only the first.
set -u
staticcheck=$1
tools=$2
wrong=0
fail() {
  echo "lint: $1" >&2
  wrong=1
}

unformatted=$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ -f "$f" ] && gofmt -l "$f"; done)
[ -z "$unformatted" ] || fail "not formatted, run gofmt -w on: $unformatted"
go mod tidy -diff || fail 'go.mod or go.sum is not tidy, run go mod tidy'
go vet -tags 'e2e iam simulate' ./... || fail 'go vet'
"$staticcheck" -tags "e2e iam simulate" ./... || fail 'staticcheck'
(cd bench && go mod tidy -diff && go vet ./...) || fail 'the module in bench/'
"$tools/sam/bin/sam" validate --lint --template-file template.yaml --region eu-central-1 || fail 'template.yaml: sam validate --lint'
"$tools/sam/bin/cfn-lint" --non-zero-exit-code informational --regions eu-central-1 -- template.yaml || fail 'template.yaml: cfn-lint'
"$tools/checkov/bin/checkov" --config-file .checkov.yaml --file template.yaml || fail 'template.yaml: checkov; exceptions are in .checkov.yaml'
[ "$wrong" -eq 0 ] && echo 'lint: nothing to say'
