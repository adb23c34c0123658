//! The secret keys and their passphrase, as the database server takes them: the keys from a file,
//! the passphrase from the environment alone, since arguments can be seen by every user of the
//! machine.
//!
//! | variable | meaning |
//! |---|---|
//! | `PG_SECRETS_KEY_PASSPHRASE` | the passphrase |
//! | `PG_SECRETS_KEY_PASSPHRASE_FILE` | a file with it, whose line ends do not count; where the other one is not set |

use anyhow::{Context, bail};
use pg_secrets_openpgp::SecretKeys;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use zeroize::Zeroizing;

const PASSPHRASE: &str = "PG_SECRETS_KEY_PASSPHRASE";
const PASSPHRASE_FILE: &str = "PG_SECRETS_KEY_PASSPHRASE_FILE";

/// The longest file that is read, in bytes; the server's limit.
const LONGEST: usize = 128 << 10;

/// Reads the keys in the file at `path`. They need not be valid any more: nothing is sealed here.
///
/// # Errors
/// Where the file or the passphrase's cannot be read, and where the keys cannot be used.
pub(crate) fn read(path: &Path) -> anyhow::Result<SecretKeys> {
    let material = content(path)?;
    let passphrase = passphrase()?;
    SecretKeys::parse(&material, passphrase.as_deref().map(Vec::as_slice))
        .with_context(|| format!("the key in {} cannot be used", path.display()))
}

/// The passphrase; a variable that is empty counts as not set.
fn passphrase() -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    let variable = |name| std::env::var_os(name).filter(|text| !text.is_empty());
    if let Some(text) = variable(PASSPHRASE) {
        return Ok(Some(Zeroizing::new(OsString::into_vec(text))));
    }
    let Some(path) = variable(PASSPHRASE_FILE) else {
        return Ok(None);
    };
    let mut text = content(Path::new(&path)).context(PASSPHRASE_FILE)?;
    while matches!(text.last(), Some(b'\n' | b'\r')) {
        text.pop();
    }
    Ok(Some(text))
}

fn content(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let cannot = || format!("{} cannot be read", path.display());
    let file = File::open(path).with_context(cannot)?;
    // Room for all of it at once: growing would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    file.take(LONGEST as u64 + 1)
        .read_to_end(&mut content)
        .with_context(cannot)?;
    if content.len() > LONGEST {
        bail!("{} is longer than any file of keys", path.display());
    }
    Ok(content)
}
