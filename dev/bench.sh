#!/usr/bin/env bash
# Prints what opening and sealing cost beside pgcrypto, measured in one backend of a private Postgres
# that is made for it and removed again, how many audited reads a second there are, how long one takes with
# few and with many versions in the table, how fast webhooks arrive, how fast reads over REST are, and what the library costs whom it does
# not concern. A slow figure is no failure; a wrong value is one.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=$PWD/target
umask 077

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

pg_config=$(sed -n 's/^pg15 = "\(.*\)"/\1/p' pgrx.toml)
bin=$("$pg_config" --bindir)
[[ -e $("$pg_config" --sharedir)/extension/pgcrypto.control ]] ||
  fail "The server of $pg_config has no pgcrypto to compare with."

say '==> Building what is measured'
# With the features of the whole workspace, as dev/build.sh builds what is installed.
cargo build --release --quiet --workspace --example pg_secrets_bench --example webhooks_bench --example rest_bench

# Postgres refuses to run as root, and its own user may not be able to enter this clone: all that it
# reads is copied. A socket's path has at most 107 bytes, so the folder is not put just anywhere.
home=$(mktemp --directory /tmp/pg_secrets-bench.XXXXXX)
as_owner=()
((EUID != 0)) || as_owner=(runuser -u postgres --)
# Settings of whoever runs this reach neither the server nor psql; RUST_BACKTRACE alone would slow
# down what is measured.
clean=(env --ignore-environment "PATH=$PATH")
owned() { (cd / && "${clean[@]}" "${as_owner[@]}" "$@"); }
stop() {
  trap '' INT TERM HUP
  owned "$bin/pg_ctl" stop --pgdata "$home/data" --mode immediate --silent >/dev/null 2>&1 || true
  rm -rf "$home"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

install --mode 755 target/release/examples/libpg_secrets_bench.so "$home/pg_secrets_bench.so"
target/release/pg-secrets keygen --profile rfc9580 >"$home/v6.asc"
target/release/pg-secrets keygen --profile rfc4880 >"$home/v4.asc"
((EUID != 0)) || chown --recursive postgres: "$home"

say '==> Starting a Postgres'
owned "$bin/initdb" --pgdata "$home/data" --username postgres --auth trust --encoding UTF8 \
  --locale C.UTF-8 --no-sync >/dev/null
owned "$bin/pg_ctl" start --pgdata "$home/data" --log "$home/log" --silent --wait \
  --options "-c listen_addresses='' -c unix_socket_directories='$home' -c port=5432" >/dev/null || {
  cat "$home/log" >&2
  fail 'It did not start.'
}

"${clean[@]}" "$bin/psql" --host "$home" --port 5432 --username postgres --dbname postgres \
  --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set home="$home" --file dev/bench/openpgp.sql

say '==> Starting it anew, with pg_secrets'
owned "$bin/pg_ctl" restart --pgdata "$home/data" --log "$home/log" --silent --wait --mode fast \
  --options "-c listen_addresses='' -c unix_socket_directories='$home' -c port=5432 -c shared_preload_libraries=pg_secrets -c pg_secrets.key_file='$home/v4.asc'" >/dev/null || {
  cat "$home/log" >&2
  fail 'It did not start.'
}
"${clean[@]}" bin="$bin" home="$home" dev/bench/reads.sh
"${clean[@]}" bin="$bin" home="$home" dev/bench/versions.sh

owned "$bin/pg_ctl" stop --pgdata "$home/data" --mode fast --silent >/dev/null
say '==> Starting others, each with a companion'
target/release/examples/webhooks_bench
target/release/examples/rest_bench

say '==> Starting two others, of which one has pg_secrets preloaded'
# They have the machine to themselves.
"${clean[@]}" bin="$bin" home="$home" owner="${as_owner[*]}" dev/bench/preload.sh
