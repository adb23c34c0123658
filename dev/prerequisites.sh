#!/usr/bin/env bash
# Installs what a fresh Debian 12 machine lacks to build and run pg_secrets. Does nothing, quickly,
# where all of it is there. With --for-tests also what the tests need.
set -euo pipefail

packages=(postgresql-15 postgresql-server-dev-15 libclang-14-dev clang pkg-config libssl-dev curl)
if [[ ${1:-} == --for-tests ]]; then
  packages+=(gnupg python3-venv binutils postgresql-15-pgaudit openssl procps)
fi

say() { printf '%s\n' "$*" >&2; }

command -v cargo >/dev/null || {
  say 'cargo is not on the PATH. Install Rust 1.95 or later (rustup.rs), and run this again.'
  exit 1
}

command -v dpkg-query >/dev/null || {
  # Not a Debian system: what is there is taken as it is.
  for program in clang pkg-config curl "$(sed -n 's/^pg15 = "\(.*\)"/\1/p' "$(dirname "$0")/../pgrx.toml")"; do
    command -v "$program" >/dev/null && continue
    say "There is no $program. Install, by this system's own means, what these Debian packages hold:"
    say "  ${packages[*]}"
    say 'and name the pg_config of the server in pgrx.toml.'
    exit 1
  done
  exit 0
}

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || {
    say "To be installed by root: ${missing[*]}"
    exit 1
  }
  as_root=(sudo)
fi

say "==> Installing ${missing[*]} (a minute or two)"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet=2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install --yes --quiet --no-install-recommends "${missing[@]}" </dev/null |
  grep --line-buffered -E '^(Get:|Setting up)' | sed -u 's/^/    /' >&2
