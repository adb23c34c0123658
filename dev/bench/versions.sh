#!/usr/bin/env bash
# Prints how long an audited read takes with a thousand and with a million versions in the table. Run by
# dev/bench.sh behind dev/bench/reads.sh, in the same server.
set -euo pipefail

rounds=${PG_SECRETS_BENCH_ROUNDS:-5}
seconds=${PG_SECRETS_BENCH_SECONDS:-4}

sql() { psql --host "$home" --port 5432 --username postgres --dbname postgres \
  --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"; }

# A thousand secrets with the one that is there; they are what is read, both times.
sql --command "SELECT count(control_plane.create_secret('bench', 'real ' || n, 'a value ' || n)) FROM generate_series(1, 999) AS n" >/dev/null
cat >"$home/by_name.sql" <<'SQL'
\set n random(1, 999)
SELECT value FROM control_plane.get_secret_by_name('bench', 'real ' || :n);
SQL

latency() {
  "$bin/pgbench" --host "$home" --port 5432 --username reader --no-vacuum --protocol prepared \
    --file "$home/by_name.sql" --client 1 --time "$seconds" postgres 2>"$home/errors" |
    awk '/^latency average/ { print $4 * 1000 } /failed transactions/ && $5 > 0 { exit 1 }' ||
    { cat "$home/errors" >&2; exit 1; }
}

median() { sort --general-numeric-sort | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

measure() { # name of the figure
  latency >/dev/null
  for ((round = 0; round < rounds; round++)); do
    [[ ! -t 2 ]] || printf '%s versions, round %d of %d\r' "$1" $((round + 1)) "$rounds" >&2
    latency
  done | median
}

sql --command 'VACUUM ANALYZE control_plane.secrets' --command CHECKPOINT
few=$(measure 1,000)
sql --set versions=999000 --file dev/bench/versions.sql
many=$(measure 1,000,000)

printf '\nMicroseconds for one audited read by name, one client; the median of %s rounds of %s s.\n\n' \
  "$rounds" "$seconds"
awk -v f="$few" -v m="$many" \
  'BEGIN { printf "%16s | %18s | %s\n%16.0f | %18.0f | %.2f\n", "1,000 versions", "1,000,000 versions", "ratio", f, m, m / f }'
