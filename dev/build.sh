#!/usr/bin/env bash
# Builds the extension for the server of PG_CONFIG (by default that of pgrx.toml), and the companion.
set -euo pipefail
cd "$(dirname "$0")/.."

# The other scripts and the tests look for what is built in here.
export CARGO_TARGET_DIR=$PWD/target

default=$(sed -n 's/^pg15 = "\(.*\)"/\1/p' pgrx.toml)
pg_config=${PG_CONFIG:-$default}

say() { printf '%s\n' "$*" >&2; }

[[ -x $pg_config ]] || {
  say "There is no $pg_config. Name the server's pg_config: make install PG_CONFIG=…"
  exit 1
}

[[ -e target/release/pg-secrets ]] ||
  say '==> Building (the first time takes three to five minutes on two cores)'

if [[ $pg_config == "$default" ]]; then
  # The whole workspace, so that the tests are built with the very same features.
  cargo build --release --workspace
else
  # Another server than the one the workspace is built against gets a target folder of its own.
  major=$("$pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
  mkdir -p "target/pg$major"
  printf '[configs]\npg%s = "%s"\n' "$major" "$pg_config" >"target/pg$major/config.toml"
  PGRX_HOME="$PWD/target/pg$major" CARGO_TARGET_DIR="$PWD/target/pg$major" \
    cargo build --release --package pg_secrets --no-default-features --features "pg$major"
  cargo build --release --package pg-secrets
fi
