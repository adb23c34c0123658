//! `pg-secrets keygen`: an OpenPGP secret key for the database server.

use crate::config::{KeyProfile, KeygenArguments};
use crate::private_file::write_new;
use anyhow::{Context, bail};
use pg_secrets_openpgp::{Profile, generate};
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
            advise(&std::path::absolute(path)?);
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

#[allow(clippy::print_stderr)]
fn advise(path: &Path) {
    eprintln!(
        "The key is in {path}.\n\
         1. Let the account that the Postgres server runs as own that file.\n\
         2. Set PG_SECRETS_KEY_FILE={path} in the environment of the Postgres server, and start the server anew.\n\
         3. Keep a copy in a safe place, apart from the database's backups: without it no secret can be read again.",
        path = path.display()
    );
}
