#!/usr/bin/env bash
# Prints how many audited reads a second a server gives, beside the same SELECT that writes its record
# with an INSERT in its own transaction, and beside one that writes none. Run by dev/bench.sh, which sets
# `bin` (the server's programs) and `home` (a folder with the bench's library and a key).
set -euo pipefail

rounds=${PG_SECRETS_BENCH_ROUNDS:-3}
seconds=${PG_SECRETS_BENCH_SECONDS:-4}

sql() { psql --host "$home" --port 5432 --username postgres --dbname postgres \
  --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"; }

sql --set home="$home" --file dev/bench/reads.sql
id=$(sql --command "SELECT id FROM control_plane.secrets")

# The same SELECT, written by hand: the same row by the same rule of what is readable, for whom the same grants
# allow it, opened in the same way. (The key file is parsed once in each session.)
same_select=$(
  cat <<SQL
SELECT bench_open_with('$home/v4.asc', v.id, v.value_encrypted)
FROM control_plane.versions AS v
WHERE v.id = '$id' AND v.state IN ('active', 'grace') AND EXISTS (
    SELECT FROM control_plane.grants AS g JOIN pg_roles AS r ON r.rolname = g.grantee
    WHERE g.kind = 'role' AND g.role_oid = r.oid AND g.permission IN ('read', 'admin')
        AND (g.project_id IS NULL OR g.project_id = v.project_id)
        AND pg_has_role(current_user, r.oid, 'USAGE')
)
SQL
)
cat >"$home/audited.sql" <<<"SELECT value FROM control_plane.get_secret('$id');"
cat >"$home/unaudited.sql" <<<"$same_select;"
cat >"$home/insert.sql" <<SQL
WITH record AS (
    INSERT INTO record (id, action, outcome, actor, login, project_id, secret_id, name, version, application_name)
    VALUES (gen_random_uuid(), 'secret.accessed', 'success', current_user, session_user,
        'bench', '$id', 'name', 1, current_setting('application_name'))
)
$same_select;
SQL

rate() { # contestant, clients
  local jobs=$(($2 < 2 ? 1 : 2))
  "$bin/pgbench" --host "$home" --port 5432 --username reader --no-vacuum --protocol prepared \
    --file "$home/$1.sql" --client "$2" --jobs "$jobs" --time "$seconds" postgres 2>"$home/errors" |
    awk '/^tps/ { print $3 } /failed transactions/ && $5 > 0 { exit 1 }' ||
    { cat "$home/errors" >&2; exit 1; }
}

median() { sort --general-numeric-sort | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

printf '\nReads per second, synchronous_commit on; the median of %s rounds of %s s. INSERT: the same SELECT, which\n' \
  "$rounds" "$seconds"
printf 'writes its record in its own transaction; unaudited: one that writes none.\n\n'
printf '%8s | %8s | %8s | %9s | %s\n' clients audited INSERT unaudited 'audited to INSERT'
for clients in 1 16 32; do
  for ((round = 0; round < rounds; round++)); do
    [[ ! -t 2 ]] || printf '%d clients, round %d of %d\r' "$clients" $((round + 1)) "$rounds" >&2
    for contestant in audited insert unaudited; do
      rate "$contestant" "$clients" >>"$home/$contestant.$clients"
    done
  done
  audited=$(median <"$home/audited.$clients")
  insert=$(median <"$home/insert.$clients")
  unaudited=$(median <"$home/unaudited.$clients")
  awk -v c="$clients" -v a="$audited" -v i="$insert" -v u="$unaudited" \
    'BEGIN { printf "%8d | %8.0f | %8.0f | %9.0f | %.2f\n", c, a, i, u, a / i }'
done

# What was measured was recorded, each read of it.
verdict=$(sql --command "SELECT intact, to_seq FROM control_plane.verify_audit()")
[[ $verdict == t\|* ]] || {
  printf 'The chain does not verify: %s\n' "$verdict" >&2
  exit 1
}
printf '\nThe chain over all of it verifies: %s records.\n' "${verdict#t|}"
