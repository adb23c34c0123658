#!/usr/bin/env bash
# Prints what a workload that has nothing to do with pg_secrets loses by its being preloaded: pgbench on two
# servers of the same settings, one with the library, round by round in turn. Run by dev/bench.sh, which
# sets `bin` (the server's programs), `home` (a folder with a key) and `owner` (what comes before a command to
# run it as the servers' user, or nothing).
set -euo pipefail

rounds=${PG_SECRETS_BENCH_ROUNDS:-5}
seconds=${PG_SECRETS_BENCH_SECONDS:-6}
read -ra as_owner <<<"${owner:-}"

run_owned() { (cd / && "${as_owner[@]}" "$@"); }
stop() {
  for contestant in without with; do
    run_owned "$bin/pg_ctl" stop --pgdata "$home/$contestant" --mode immediate --silent >/dev/null 2>&1 || true
  done
}
trap stop EXIT

start() { # contestant, port, further options
  run_owned "$bin/initdb" --pgdata "$home/$1" --username postgres --auth trust --encoding UTF8 \
    --locale C.UTF-8 --no-sync >/dev/null
  run_owned "$bin/pg_ctl" start --pgdata "$home/$1" --log "$home/$1.log" --silent --wait \
    --options "-c listen_addresses='' -c unix_socket_directories='$home' -c port=$2 -c synchronous_commit=off -c autovacuum=off $3" >/dev/null || {
    cat "$home/$1.log" >&2
    exit 1
  }
  "$bin/pgbench" --host "$home" --port "$2" --username postgres --initialize --scale 10 --quiet postgres 2>/dev/null
}
start without 5433 ''
start with 5434 "-c shared_preload_libraries=pg_secrets -c pg_secrets.key_file='$home/v4.asc'"
"$bin/psql" --host "$home" --port 5434 --username postgres --dbname postgres --no-psqlrc --quiet \
  --command 'CREATE EXTENSION pg_secrets'

# A statement as applications send them: long, and full of names in words like ours.
wide=$home/wide.sql
{
  printf '\\set aid random(1, 100000 * :scale)\nSELECT a.aid'
  for ((column = 0; column < 25; column++)); do
    printf ', a.bid AS customer_identifier_%d, a.abalance AS created_at_%d' "$column" "$column"
  done
  printf ' FROM pgbench_accounts AS a WHERE a.aid = :aid AND coalesce(a.abalance, 0) IS NOT NULL;\n'
} >"$wide"

rate() { # port, workload, protocol
  if [[ $2 == wide ]]; then set -- "$1" "$2" "$3" --file "$wide"; else set -- "$1" "$2" "$3" --builtin "$2"; fi
  "$bin/pgbench" --host "$home" --port "$1" --username postgres --no-vacuum --protocol "$3" \
    "${@:4}" --client 4 --jobs 2 --time "$seconds" postgres 2>"$home/errors" |
    awk '/^tps/ { print $3 } /failed transactions/ && $5 > 0 { exit 1 }' ||
    { cat "$home/errors" >&2; exit 1; }
}

median() { sort --general-numeric-sort | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

printf '\nAn unrelated workload (pgbench, 4 clients, transactions per second) with pg_secrets preloaded and without;\n'
printf 'the median of %s rounds of %s s. Loss: the median of the rounds'\'' own.\n\n' "$rounds" "$seconds"
printf '%-12s | %-8s | %9s | %9s | %s\n' workload protocol without with loss
for workload in select-only tpcb-like wide; do
  for protocol in simple prepared; do
    figures=$home/$workload.$protocol
    for ((round = 0; round < rounds; round++)); do
      [[ ! -t 2 ]] || printf '%s, %s, round %d of %d\r' "$workload" "$protocol" $((round + 1)) "$rounds" >&2
      # Each goes first in turn, so that none has always the quieter machine.
      if ((round % 2)); then
        with=$(rate 5434 "$workload" "$protocol")
        without=$(rate 5433 "$workload" "$protocol")
      else
        without=$(rate 5433 "$workload" "$protocol")
        with=$(rate 5434 "$workload" "$protocol")
      fi
      printf '%s %s\n' "$without" "$with" >>"$figures"
    done
    without=$(awk '{ print $1 }' "$figures" | median)
    with=$(awk '{ print $2 }' "$figures" | median)
    loss=$(awk '{ print 100 * (1 - $2 / $1) }' "$figures" | median)
    awk -v w="$workload" -v p="$protocol" -v a="$without" -v b="$with" -v l="$loss" \
      'BEGIN { printf "%-12s | %-8s | %9.0f | %9.0f | %.1f %%\n", w, p, a, b, l }'
  done
done
