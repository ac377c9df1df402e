# GNU make 4.3 and a POSIX shell. Needs Go 1.26; `make test` and `make bench` need Python 3.11 and Node 20 besides, for the tools that
# they install under .tools/ by themselves. Nothing here reads the user's locale.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
export LC_ALL := C

# The functions' processor, under the names of Lambda (arm64, x86_64) or Go (arm64, amd64). It must be what the
# template's parameter Architecture says: `make sam-build` passes one to the other.
ARCH ?= arm64
GOARCH_OF_arm64 := arm64
GOARCH_OF_amd64 := amd64
GOARCH_OF_x86_64 := amd64
LAMBDA_ARCH_OF_arm64 := arm64
LAMBDA_ARCH_OF_amd64 := x86_64
LAMBDA_ARCH_OF_x86_64 := x86_64

# How long `make fuzz` spends on each fuzz target.
FUZZTIME ?= 60s
# How long `make soak` goes on (8h is as good), and how often it kills a sync besides.
SOAK ?= 5m
KILLS ?= 200
# This machine's processor, for the emulator; where it listens; the shop that its functions call.
HOST_ARCH = $(shell go env GOARCH)
PORT ?= 4566
SHOP ?= http://127.0.0.1:8080
# For `make deploy`: a section of samconfig.toml, and the template's parameters; those that are not given stay as they were. The
# stack that `make delete` deletes.
ENV ?= default
PARAMETERS ?=
STACK ?= m2mjobs
# For `make bench`: parts by the beginning of their names. All if empty.
ONLY ?=
# More arguments for `make run`, as in: make run ARGS='--day 1998-06-30 --serve'
ARGS ?=

STATICCHECK_VERSION := v0.8.2
STATICCHECK := .tools/staticcheck-$(STATICCHECK_VERSION)/staticcheck
GOSEC_VERSION := v2.30.0
GOSEC := .tools/gosec-$(GOSEC_VERSION)/gosec
CYCLONEDX_VERSION := v1.10.0
CYCLONEDX := .tools/cyclonedx-$(CYCLONEDX_VERSION)/cyclonedx-gomod
SAM := .tools/sam/bin/sam
export SAM_CLI_TELEMETRY := 0
export __SAM_CLI_APP_DIR := $(CURDIR)/.tools/sam-home

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Run both jobs on real orders, against a tenant and a shop in memory (ARGS='--day 1998-06-30 --serve')
	@go run ./cmd/m2mjobs demo $(ARGS)

.PHONY: test
test: tools lint ## Everything: lint, template, all tests with the race detector, end to end, and a search for leaked secrets
	@sh tools/test.sh .tools/test.log

.PHONY: test-fast
test-fast: ## The Go tests alone, with nothing installed
	@go vet ./...
	@go test ./...

.PHONY: lint
lint: $(STATICCHECK) .tools/sam/pin .tools/checkov/pin ## Formatting, go.mod, go vet, staticcheck, and the template by SAM, cfn-lint and checkov
	@sh tools/lint.sh $(STATICCHECK) .tools

.PHONY: fuzz
fuzz: ## Run every fuzz target for a minute (FUZZTIME=60s)
	@sh tools/fuzz.sh $(FUZZTIME)

.PHONY: soak
soak: ## Real jobs at work while all that they wait for breaks at random (SOAK=5m M2MJOBS_SEED=...), and KILLS=200 kills of a sync
	@rm -f .tools/soak.log
	@SOAK=$(SOAK) M2MJOBS_KILLS=$(KILLS) sh tools/gotest.sh .tools/soak.log -count=1 -timeout 0 -tags soak \
		-run 'TestSoak|TestASyncKilledAtRandomPoints' ./cmd/m2mjobs
	@sh tools/leaks.sh .tools/soak.log && grep -E 'M2MJOBS_SEED=|kills survived' .tools/soak.log

.PHONY: bench
bench: .tools/sam/pin .tools/ministack/pin .tools/logto-api/pin ## Measure tokens, functions and syncs beside what others use (ONLY=token, functions, sync)
	@cd bench && go run . $(ONLY)

.PHONY: simulate
simulate: ## How long a sync of 20,000, 200,000 and (extrapolated) 10 million users takes, and what it costs: in virtual time (5 minutes)
	@cd internal/simulate && go test -tags simulate -run TestAMillionUsersByWhatFewerCost -count=1 -timeout 20m

.PHONY: build
build: ## Build the functions for Lambda (ARCH=arm64 or x86_64) and the command for this machine, into bin/
	@$(MAKE) --no-print-directory build-SyncCustomDataFunction ARTIFACTS_DIR=bin/sync-custom-data
	@$(MAKE) --no-print-directory build-DailyOrdersFunction ARTIFACTS_DIR=bin/daily-orders
	@$(MAKE) --no-print-directory build-LogtoWebhookFunction ARTIFACTS_DIR=bin/logto-webhook
	@$(MAKE) --no-print-directory build-RotateSecretFunction ARTIFACTS_DIR=bin/rotate-secret
	go build -trimpath -o bin/m2mjobs ./cmd/m2mjobs

.PHONY: sam-build
sam-build: .tools/sam/pin ## The same by `sam build`, for `sam deploy` and `sam local invoke` (ARCH=arm64 or x86_64)
	$(SAM) build --build-in-source --parameter-overrides Architecture=$(LAMBDA_ARCH_OF_$(ARCH))

.PHONY: deploy
deploy: sam-build ## Deploy to AWS. The first time with PARAMETERS='ShopUrl=https://shop.example.com AlarmEmail=you@example.com'
	$(SAM) deploy --config-env $(ENV) --parameter-overrides Architecture=$(LAMBDA_ARCH_OF_$(ARCH)) $(PARAMETERS)

.PHONY: ministack
ministack: .tools/ministack/pin ## Run an emulator of AWS until Ctrl-C, for `make deploy-local` (PORT=4566)
	@echo 'export AWS_ENDPOINT_URL=http://127.0.0.1:$(PORT) AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1'
	@AUTH=true BIND_HOST=127.0.0.1 IOT_MTLS_ENABLED=0 GATEWAY_PORT=$(PORT) MINISTACK_REGION=us-east-1 STATE_DIR=.tools/ministack-state \
		.tools/ministack/bin/ministack

.PHONY: deploy-local
deploy-local: .tools/sam/pin ## Deploy into the emulator that `make ministack` runs (SHOP=http://127.0.0.1:8080, PORT=4566)
	ARCH=$(HOST_ARCH) $(SAM) build --config-env local --parameter-overrides Architecture=$(LAMBDA_ARCH_OF_$(HOST_ARCH))
	AWS_ENDPOINT_URL=http://127.0.0.1:$(PORT) AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test $(SAM) deploy --config-env local \
		--parameter-overrides Architecture=$(LAMBDA_ARCH_OF_$(HOST_ARCH)) ScheduleState=DISABLED LogRetentionDays=1 \
		ShopUrl=$(SHOP) AwsEndpointUrl=http://127.0.0.1:$(PORT) $(PARAMETERS)

.PHONY: delete
delete: .tools/sam/pin ## Delete a deployed stack, and its bucket if that is empty (STACK=m2mjobs)
	@.tools/sam/bin/python tools/delete.py $(STACK)

.PHONY: test-iam
test-iam: tools ## Take out each action of the functions' roles, one at a time, and see that it is missed (4 minutes)
	@sh tools/gotest.sh .tools/test-iam.log -count=1 -timeout 20m -tags 'e2e iam' -run 'TestEveryStatementIsNeeded|TestPolicyWithout' ./e2e
	@sh tools/leaks.sh .tools/test-iam.log && sh tools/summary.sh .tools/test-iam.log

.PHONY: audit
audit: $(GOSEC) $(CYCLONEDX) ## Security lint, each bootstrap built twice with the same bytes, and what it is made of (bin/*.cdx.json)
	@sh tools/audit.sh $(GOSEC) $(CYCLONEDX)

.PHONY: tools
tools: $(STATICCHECK) .tools/sam/pin .tools/ministack/pin .tools/checkov/pin .tools/oidc/pin .tools/logto-api/pin ## Install what the tests need, at pinned versions, under .tools/

.PHONY: clean
clean: ## Remove what was built; .tools/ stays (rm -r .tools removes that)
	rm -rf bin out .aws-sam .tools/test.log

# What `sam build` calls for a function with BuildMethod: makefile: DailyOrdersFunction is functions/daily-orders.
# -buildvcs=false: the same source gives the same bytes.
build-%Function:
	$(if $(GOARCH_OF_$(ARCH)),,$(error ARCH=$(ARCH): use arm64 or x86_64))
	CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH_OF_$(ARCH)) go build -trimpath -buildvcs=false -tags lambda.norpc,timetzdata \
		-ldflags='-s -w' -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/$$(echo $* | sed 's/\(.\)\([A-Z]\)/\1-\2/g' | tr A-Z a-z)

# The tools. Each has a file `pin`, a copy of what pins it, written last: an installation that was interrupted, or whose pin is
# another since, is done again from nothing. What counts is what stands in it: a fresh checkout's files are always newer.
$(STATICCHECK):
	GOBIN='$(CURDIR)/$(@D)' GOFLAGS= go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

$(GOSEC):
	GOBIN='$(CURDIR)/$(@D)' GOFLAGS= go install github.com/securego/gosec/v2/cmd/gosec@$(GOSEC_VERSION)

$(CYCLONEDX):
	GOBIN='$(CURDIR)/$(@D)' GOFLAGS= go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)

.PHONY: pins
.tools/sam/pin .tools/ministack/pin .tools/checkov/pin: .tools/%/pin: pins
	@cmp -s tools/$*.txt $@ || { set -ex; rm -rf .tools/$*; python3 -m venv .tools/$*; \
		.tools/$*/bin/pip install --quiet --disable-pip-version-check --requirement tools/$*.txt; cp tools/$*.txt $@; }

.tools/oidc/pin .tools/logto-api/pin: .tools/%/pin: pins
	@cmp -s tools/$*/package-lock.json $@ || { set -ex; rm -rf .tools/$*; mkdir -p .tools/$*; cp tools/$*/package*.json .tools/$*/; \
		(cd .tools/$* && npm ci --no-audit --no-fund --loglevel=error); cp tools/$*/package-lock.json $@; }
