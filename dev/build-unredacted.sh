#!/usr/bin/env bash
# Builds the library without the hooks that mask, for the test that shows what they are for. It is put
# where no installation looks, and the library as it is built for use takes its old place again.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=$PWD/target

# With the features of the whole workspace, so that nothing else is built anew.
cargo build --release --workspace --lib --features pg_secrets/unredacted
mkdir -p target/release/unredacted
install --mode 755 target/release/libpg_secrets.so target/release/unredacted/pg_secrets.so.new
mv target/release/unredacted/pg_secrets.so.new target/release/unredacted/pg_secrets.so
dev/build.sh
