#!/usr/bin/env bash
# Starts a private Postgres with the extension, and the companion, and waits. Ctrl-C stops both; the
# data stays. Everything belongs to this clone: several clones run side by side.
set -euo pipefail

# A shell that was started in the background ignores Ctrl-C, and cannot undo that: begin anew.
if [[ -z ${PG_SECRETS_RUN:-} ]]; then
  PG_SECRETS_RUN=1 exec env --default-signal=INT "$0" "$@"
fi
unset PG_SECRETS_RUN

cd "$(dirname "$0")/.."
clone=$PWD
umask 077

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

pg_config=$(sed -n 's/^pg15 = "\(.*\)"/\1/p' pgrx.toml)
bin=$("$pg_config" --bindir)
companion=$clone/target/release/pg-secrets
hash=$(printf '%s' "$clone" | sha256sum | cut -c 1-12)
local_folder=$clone/.local
mkdir -p "$local_folder"

# One at a time per clone. The descriptor is closed for the children, so that the lock ends with us.
exec 9>"$local_folder/lock"
flock --nonblock 9 || fail "pg_secrets runs already for this clone: its settings are in .local/env."

# Postgres refuses to run as root, and its own user may not be able to enter this clone.
as_owner=()
base=$local_folder
if ((EUID == 0)); then
  as_owner=(runuser -u postgres --)
  base=/var/lib/pg_secrets/$hash
  install --directory --mode 755 /var/lib/pg_secrets
  install --directory --owner postgres --mode 700 "$base"
fi
data=$base/data
key=$base/key.asc
log=$base/server.log
companion_log=$local_folder/companion.log
sockets=$base/run
# A socket's path has at most 107 bytes.
if ((${#sockets} > 85)); then
  sockets=${XDG_RUNTIME_DIR:-/tmp}/pg_secrets-$hash
fi

owned() { (cd / && "${as_owner[@]}" "$@" 9>&-); }

owned mkdir -p -m 700 "$sockets"
[[ -O $sockets || $EUID == 0 ]] || fail "$sockets belongs to somebody else."

if [[ ! -s $key ]]; then
  say '==> Making a key'
  new_key=$local_folder/key.new
  rm -f "$new_key"
  "$companion" keygen --output "$new_key" 2>/dev/null
  install --mode 600 "$new_key" "$key"
  rm -f "$new_key"
  ((EUID != 0)) || chown postgres: "$key"
fi

if [[ ! -s $data/PG_VERSION ]]; then
  say '==> Making a database cluster'
  rm -rf "$data"
  owned "$bin/initdb" --pgdata "$data" --username postgres --auth trust --encoding UTF8 \
    --locale C.UTF-8 --data-checksums >/dev/null
  printf "include '%s'\n" "$base/pg_secrets.conf" >>"$data/postgresql.conf"
fi
cat >"$base/pg_secrets.conf" <<CONF
# Written by make run each time.
listen_addresses = ''
unix_socket_directories = '$sockets'
unix_socket_permissions = 0700
port = 5432
shared_preload_libraries = 'pg_secrets'
pg_secrets.database = 'postgres'
pg_secrets.trusted_logins = 'secrets_companion'
CONF
((EUID != 0)) || chown postgres: "$base/pg_secrets.conf"

companion_pid=
stop() {
  trap '' INT TERM HUP
  [[ -z $companion_pid ]] || kill -TERM "$companion_pid" 2>/dev/null || true
  [[ -z $companion_pid ]] || wait "$companion_pid" 2>/dev/null || true
  owned "$bin/pg_ctl" stop --pgdata "$data" --mode fast --silent >/dev/null 2>&1 || true
}
interrupted() {
  say ''
  say '==> Stopping'
  stop
  say "    Stopped. The data is kept in $base; make run goes on with it."
  trap - EXIT
  exit 0
}
trap interrupted INT TERM HUP
trap stop EXIT

# What an earlier run left behind when it was killed.
if [[ -s $local_folder/companion.pid ]]; then
  left=$(<"$local_folder/companion.pid")
  if [[ $(readlink "/proc/$left/exe" 2>/dev/null) == "$companion"* ]]; then
    kill -KILL "$left" 2>/dev/null || true
  fi
  rm -f "$local_folder/companion.pid"
fi
owned "$bin/pg_ctl" status --pgdata "$data" >/dev/null 2>&1 &&
  owned "$bin/pg_ctl" stop --pgdata "$data" --mode fast --silent >/dev/null

say '==> Starting Postgres'
owned env "PG_SECRETS_KEY_FILE=$key" \
  "$bin/pg_ctl" start --pgdata "$data" --log "$log" --silent --wait >/dev/null ||
  fail "Postgres did not start; its log: $log"

export PGHOST=$sockets PGPORT=5432 PGDATABASE=postgres PGUSER=postgres
sql() { "$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@" 9>&-; }

script=$(cat sql/*.sql | sha256sum | cut -c 1-64)
if [[ -z $(sql --command "SELECT 1 FROM pg_extension WHERE extname = 'pg_secrets'") ]]; then
  sql --command 'CREATE EXTENSION pg_secrets'
  sql <<'SQL'
CREATE ROLE secrets_companion LOGIN;
GRANT USAGE ON SCHEMA control_plane TO secrets_companion;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO secrets_companion;
REVOKE EXECUTE ON FUNCTION control_plane.set_execute, control_plane.store_usage,
  control_plane.audit_change, control_plane.protect_audit FROM secrets_companion;
SELECT FROM control_plane.grant_project('admin@local', 'admin', kind => 'subject');
SQL
  printf '%s' "$script" >"$base/script.sha256"
elif [[ $(cat "$base/script.sha256" 2>/dev/null) != "$script" ]]; then
  say 'Note: sql/ has changed since this data was made. Nothing is released yet, so there is no upgrade:'
  say "      to begin anew, stop this, remove $base and run make run again."
fi

# A socket's folder in a URL: everything but letters and digits is percent-encoded.
encoded=$(printf '%s' "$sockets" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g')
export DATABASE_URL="postgresql://secrets_companion@$encoded:5432/postgres"

say '==> Starting the companion'
port=8484
while :; do
  if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    : >"$companion_log"
    PG_SECRETS_LISTEN=127.0.0.1:$port PG_SECRETS_WEBHOOK_ALLOW=127.0.0.0/8,::1/128 \
      setsid "$companion" serve >>"$companion_log" 2>&1 9>&- </dev/null &
    companion_pid=$!
    for _ in {1..100}; do
      kill -0 "$companion_pid" 2>/dev/null || break
      if grep -q 'listening on' "$companion_log"; then
        break 2
      fi
      sleep 0.1
    done
    wait "$companion_pid" 2>/dev/null || true
    companion_pid=
    grep -q 'cannot be listened on' "$companion_log" ||
      fail "The companion did not start; its log: $companion_log"
  fi
  ((port++ < 8584)) || fail 'No port from 8484 to 8584 is free.'
done
printf '%s' "$companion_pid" >"$local_folder/companion.pid"
url=http://127.0.0.1:$port

# The token of an earlier run, if it still works.
token=$(sed -n "s/^export PG_SECRETS_TOKEN='\(.*\)'$/\1/p" "$local_folder/env" 2>/dev/null || true)
works() {
  [[ -n $token ]] && [[ 200 == "$(curl --silent --output /dev/null --write-out '%{http_code}' \
    --config <(printf 'header = "Authorization: Bearer %s"\n' "$token") \
    "$url/api/secrets?project_id=demo" 9>&-)" ]]
}
works || token=$(sql --command "SELECT control_plane.create_token('admin@local')")

quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }
{
  printf '# Source this file to reach the running pg_secrets. It holds an administrator token.\n'
  printf 'export PGHOST=%s\n' "$(quoted "$PGHOST")"
  printf 'export PGPORT=%s\n' "$(quoted "$PGPORT")"
  printf 'export PGDATABASE=%s\n' "$(quoted "$PGDATABASE")"
  printf 'export PGUSER=%s\n' "$(quoted "$PGUSER")"
  printf 'export DATABASE_URL=%s\n' "$(quoted "$DATABASE_URL")"
  printf 'export PG_SECRETS_URL=%s\n' "$(quoted "$url")"
  printf 'export PG_SECRETS_TOKEN=%s\n' "$(quoted "$token")"
  printf 'export PG_SECRETS_KEY_FILE=%s\n' "$(quoted "$key")"
  printf 'export PG_SECRETS_DATA=%s\n' "$(quoted "$data")"
  printf 'export PG_SECRETS_LOG=%s\n' "$(quoted "$log")"
} >"$local_folder/env.new"
mv "$local_folder/env.new" "$local_folder/env"

say ''
say "pg_secrets is running at $url"
say "  token      $token"
say "  settings   . .local/env     (for psql and curl; README.md has the first commands)"
say "  logs       $log"
say "             $companion_log"
say '  Ctrl-C stops it and keeps the data.'

postmaster=$(head -n 1 "$data/postmaster.pid")
while kill -0 "$companion_pid" 2>/dev/null; do
  [[ -d /proc/$postmaster ]] || fail "Postgres ended by itself; its log: $log"
  # In the background, so that a signal is acted upon at once.
  sleep 1 9>&- &
  wait $! || true
done
fail "The companion ended by itself; its log: $companion_log"
