# pg_secrets. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The server to install into; its version decides which of the features pg15 to pg18 is built.
PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start a private Postgres with the extension, and the companion; install and build what is missing
	@dev/prerequisites.sh
	@dev/build.sh
	@dev/install.sh
	@dev/run.sh

test: ## Run everything that the continuous integration runs
	@dev/prerequisites.sh --for-tests
	@dev/test.sh

build: ## Build the extension and the companion
	@dev/prerequisites.sh
	@dev/build.sh

install: ## Install extension and companion beside the server of PG_CONFIG=…
	@dev/prerequisites.sh
	@PG_CONFIG='$(PG_CONFIG)' dev/build.sh
	@PG_CONFIG='$(PG_CONFIG)' dev/install.sh

lint: ## Check format and lints
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo clippy --release --package pg_secrets_tests --test newer -- -D warnings

fmt: ## Format the sources
	cargo fmt --all

soak: ## Run the fault tests at their full length
	@dev/prerequisites.sh --for-tests
	@PG_SECRETS_SOAK=1 dev/test.sh
	@dev/test-on.sh 17

bench: ## Print what encrypting, decrypting, audited reads, webhooks and the mere library cost
	@dev/prerequisites.sh
	@dev/build.sh
	@dev/install.sh
	@dev/bench.sh

.PHONY: help run test build install lint fmt soak bench
