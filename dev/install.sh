#!/usr/bin/env bash
# Installs the extension into the server of PG_CONFIG. Each file is written beside the old one and
# renamed over it: a running server keeps the library that it has loaded. What is the same is left.
set -euo pipefail
cd "$(dirname "$0")/.."

default=$(sed -n 's/^pg15 = "\(.*\)"/\1/p' pgrx.toml)
pg_config=${PG_CONFIG:-$default}
library=target/release/libpg_secrets.so
if [[ $pg_config != "$default" ]]; then
  major=$("$pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
  library=target/pg$major/release/libpg_secrets.so
fi
library_folder=$("$pg_config" --pkglibdir)
extension_folder=$("$pg_config" --sharedir)/extension
program_folder=$("$pg_config" --bindir)

script=$(mktemp)
trap 'rm -f "$script"' EXIT
cat sql/*.sql >"$script"

as_root=()
if [[ ! -w $library_folder || ! -w $extension_folder ]] && ((EUID != 0)); then
  command -v sudo >/dev/null || {
    printf 'To be run by root, who may write to %s and %s.\n' "$library_folder" "$extension_folder" >&2
    exit 1
  }
  as_root=(sudo)
fi

installed=0
put() { # mode, source, target
  cmp --silent "$2" "$3" && return
  "${as_root[@]}" install --mode "$1" "$2" "$3.new"
  "${as_root[@]}" mv "$3.new" "$3"
  installed=1
}
put 755 "$library" "$library_folder/pg_secrets.so"
put 755 target/release/pg-secrets "$program_folder/pg-secrets"
put 644 extension/pg_secrets.control "$extension_folder/pg_secrets.control"
put 644 "$script" "$extension_folder/pg_secrets--0.1.0.sql"

if ((installed)); then
  printf '==> Installed into %s, %s and %s\n' "$library_folder" "$extension_folder" "$program_folder" >&2
  printf '    A server that had it loaded takes the new library with its next restart.\n' >&2
fi
