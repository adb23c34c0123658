//! `$XDG_CONFIG_HOME/pg-secrets/login.json` (without the variable `~/.config/…`): a companion's address
//! and a token, for their owner alone.

use crate::client::failure::{Failure, Kind};
use crate::private_file::write_new;
use crate::secret_text::{Revealed, SecretText};
use crate::visible::visible;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest file that is read, in bytes.
const LONGEST: usize = 16 << 10;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The companion's address.
    pub(crate) url: String,
    /// Whether the token may go there in the clear.
    #[serde(default)]
    pub(crate) insecure_http: bool,
    /// The token.
    #[serde(serialize_with = "Revealed::serialize_field")]
    pub(crate) token: SecretText,
}

/// Where it is.
///
/// # Errors
/// Where the environment names no folder of the user's.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    let folder = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        // The XDG specification has relative paths ignored.
        path.is_absolute().then_some(path)
    };
    let base = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    base.map(|base| base.join("pg-secrets/login.json"))
        .ok_or_else(|| {
            Failure::new(
                Kind::Failed,
                "neither XDG_CONFIG_HOME nor HOME names a folder for the login; PG_SECRETS_URL and PG_SECRETS_TOKEN work without one",
            )
        })
}

/// Reads it; `None` where there is none.
///
/// # Errors
/// Where it cannot be read or understood, and where others can read it.
pub(crate) fn read() -> Result<Option<Login>, Failure> {
    let path = path()?;
    let failed = |what: &str| Failure::new(Kind::Failed, format!("{} {what}", shown(&path)));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(failed("cannot be read")),
    };
    let of = file.metadata().map_err(|_| failed("cannot be read"))?;
    if of.mode() & 0o077 != 0 {
        return Err(failed(
            "can be read by others, and the token in it with it: revoke that token, and log in anew",
        ));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(LONGEST));
    file.take(LONGEST as u64)
        .read_to_end(&mut content)
        .map_err(|_| failed("cannot be read"))?;
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|_| failed("cannot be understood; log in anew"))
}

/// Writes it, in place of the one before it.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write(login: &Login) -> Result<PathBuf, Failure> {
    let path = path()?;
    let failed = || Failure::new(Kind::Failed, format!("{} cannot be written", shown(&path)));
    let folder = path.parent().ok_or_else(failed)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|_| failed())?;
    // Room for all of it at once: growing would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(LONGEST));
    serde_json::to_writer(&mut *content, login).map_err(|_| failed())?;
    content.push(b'\n');
    // By rename, so that no reader finds half of it, and so that it is new and its owner's alone
    // whatever stood there.
    let new = folder.join(format!(".login-{}", uuid::Uuid::new_v4()));
    let written = write_new(&new, &content).and_then(|()| fs::rename(&new, &path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
        return Err(failed());
    }
    Ok(path)
}

/// Removes it; whether there was one.
///
/// # Errors
/// Where it cannot be removed.
pub(crate) fn remove() -> Result<bool, Failure> {
    let path = path()?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(_) => Err(Failure::new(
            Kind::Failed,
            format!("{} cannot be removed", shown(&path)),
        )),
    }
}

/// A path as a terminal may show it.
pub(crate) fn shown(path: impl AsRef<Path>) -> String {
    visible(&OsStr::to_string_lossy(path.as_ref().as_os_str()))
}
