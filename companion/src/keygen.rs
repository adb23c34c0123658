//! `pg-secrets keygen`: an OpenPGP secret key for the database server.

use crate::config::{KeyProfile, KeygenArguments};
use crate::private_file::write_new;
use anyhow::{Context, bail};
use pg_secrets_openpgp::{Profile, SecretKeys, generate};
use std::io::{IsTerminal, Write};
use std::path::Path;

/// Makes a key and writes it to the file asked for, or to stdout.
///
/// # Errors
/// Where the file exists already or cannot be written, and where stdout is a terminal: a key does
/// not belong into a scrollback buffer.
pub fn run(arguments: &KeygenArguments) -> anyhow::Result<()> {
    let stdout = std::io::stdout();
    if arguments.output.is_none() && stdout.is_terminal() {
        bail!("a secret key is not written to a terminal; name a file with --output FILE");
    }
    let profile = match arguments.profile {
        KeyProfile::Rfc9580 => Profile::Rfc9580,
        KeyProfile::Rfc4880 => Profile::Rfc4880,
    };
    let key = generate(profile, &arguments.user_id).context("no key could be made")?;
    match &arguments.output {
        Some(path) => {
            write_new(path, key.as_bytes()).with_context(|| {
                format!(
                    "the key could not be written to {}; an existing file is never overwritten",
                    path.display()
                )
            })?;
            advise(&std::path::absolute(path)?, &fingerprint(&key)?);
        }
        None => {
            let mut out = stdout.lock();
            out.write_all(key.as_bytes())
                .and_then(|()| out.flush())
                .context("the key could not be written to stdout")?;
        }
    }
    Ok(())
}

fn fingerprint(key: &str) -> anyhow::Result<String> {
    let keys = SecretKeys::parse(key.as_bytes(), None)?;
    let first = keys.keys().first();
    first
        .map(|key| key.fingerprint.clone())
        .context("the new key cannot be read")
}

#[allow(clippy::print_stderr)]
fn advise(path: &Path, fingerprint: &str) {
    eprintln!(
        "Key {fingerprint} is in {path}.\n\
         1. Keep a copy in a safe place now, apart from the database's backups: without it no secret can be read again.\n\
         2. Let the account that the Postgres server runs as own the file (chown postgres: FILE), and nobody else read it.\n\
         3. A new server: set pg_secrets.key_file = '{path}' in postgresql.conf, and start it.\n   \
            A server that has keys: put this key before them in the file that pg_secrets.key_file names, and reload; docs/keys.md shows how.",
        path = path.display()
    );
}
