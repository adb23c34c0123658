//! `pg-secrets keygen`: an OpenPGP secret key for the database server.

use crate::config::{KeyProfile, KeygenArguments};
use anyhow::{Context, bail};
use pg_secrets_openpgp::{Profile, generate};
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
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

/// Writes a file that did not exist before and that its owner alone can read, down to the disk.
fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_is_its_owners_alone_and_never_overwritten() {
        let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("key.asc");
        write_new(&path, b"first").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(write_new(&path, b"second").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
