#!/usr/bin/env bash
# Prints what a workload that has nothing to do with pg_secrets costs with the library preloaded, beside a
# server without it. Run by dev/bench.sh, which sets `bin` (the server's programs) and `home` (where both
# servers' sockets are: 5432 has the library, 5433 has not).
set -euo pipefail

rounds=${PG_SECRETS_BENCH_ROUNDS:-5}
seconds=${PG_SECRETS_BENCH_SECONDS:-6}

for port in 5432 5433; do
  "$bin/createdb" --host "$home" --port "$port" --username postgres unrelated
  "$bin/pgbench" --host "$home" --port "$port" --username postgres --initialize --scale 10 --quiet unrelated 2>/dev/null
done

rate() { # port, arguments of pgbench
  local port=$1
  shift
  "$bin/pgbench" --host "$home" --port "$port" --username postgres --no-vacuum --client 4 --jobs 1 \
    --time "$seconds" "$@" unrelated 2>"$home/errors" | awk '/^tps/ { print $3 }' ||
    { cat "$home/errors" >&2; exit 1; }
}

median() { sort --general-numeric-sort | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

measure() { # name, arguments of pgbench
  local name=$1
  shift
  rm -f "$home/with" "$home/without"
  # In turns, the first one now this and now that, so that what else the machine does meets both.
  for ((round = 0; round < rounds; round++)); do
    if ((round % 2)); then
      rate 5432 "$@" >>"$home/with"
      rate 5433 "$@" >>"$home/without"
    else
      rate 5433 "$@" >>"$home/without"
      rate 5432 "$@" >>"$home/with"
    fi
  done
  awk -v name="$name" -v with="$(median <"$home/with")" -v without="$(median <"$home/without")" \
    'BEGIN { printf "%-28s | %9.0f | %12.0f | %+.1f %%\n", name, with, without, (with / without - 1) * 100 }'
}

printf '\nTransactions per second of pgbench, which has nothing to do with pg_secrets, 4 clients; the median of %s\n' "$rounds"
printf 'rounds of %s s. More than 3 %% apart would be a fault.\n\n' "$seconds"
printf '%-28s | %9s | %12s | %s\n' workload preloaded 'without it' apart
measure 'TPC-B, simple protocol' --protocol simple
measure 'TPC-B, prepared' --protocol prepared
measure 'SELECT, simple protocol' --select-only --protocol simple
measure 'SELECT, prepared' --select-only --protocol prepared
