#!/usr/bin/env bash
# Builds, installs, checks format and lints, and runs every test; ends with one line that sums up.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=$PWD/target

say() { printf '\n==> %s\n' "$*"; }

say 'Build'
# The library that masks nothing, then the one that is installed.
dev/build-unredacted.sh
dev/install.sh
say 'Format and lints'
cargo fmt --all --check
cargo clippy --release --workspace --all-targets --quiet -- -D warnings
cargo clippy --release --package pg_secrets_tests --test newer --quiet -- -D warnings
say 'Tests'
export PG_SECRETS_TEST_PYTHON=$PWD/target/test-venv/bin/python
if ! "$PG_SECRETS_TEST_PYTHON" -c 'import pysequoia, standardwebhooks, pgspot' 2>/dev/null; then
  # An OpenPGP program of others, which opens what we sealed, a verifier of what we signed, and one that looks
  # for holes in install scripts.
  python3 -m venv --clear target/test-venv
  "$PG_SECRETS_TEST_PYTHON" -m pip install --quiet --disable-pip-version-check \
    pysequoia==0.1.35 standardwebhooks==1.1.0 pgspot==0.9.4
fi
output=$(mktemp)
trap 'rm -f "$output"' EXIT
outcome=0
cargo test --release --workspace --no-fail-fast -- --test-threads "${TEST_THREADS:-4}" 2>&1 |
  tee "$output" || outcome=$?

awk '/^test result:/ { passed += $4; failed += $6 }
     END { printf "\n%d passed, %d failed\n", passed, failed; exit passed == 0 || failed > 0 }' "$output" ||
  outcome=1
exit "$outcome"
