//! The passphrase of locked keys, as the environment gave it at the server's start.

use crate::keys::file::read_bounded;
use crate::keys::reason::Reason;
use zeroize::Zeroizing;

/// Where the passphrase comes from.
#[derive(Default)]
pub(super) enum Passphrase {
    #[default]
    None,
    Text(Zeroizing<Vec<u8>>),
    /// A file, read again with each reload of the keys, so that both can be changed together.
    File(String),
}

impl Passphrase {
    /// The passphrase itself. A file's line ends are not part of it.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Reason> {
        match self {
            Passphrase::None => Ok(None),
            Passphrase::Text(text) => Ok(Some(text.clone())),
            Passphrase::File(path) => {
                let mut text = read_bounded("PG_SECRETS_KEY_PASSPHRASE_FILE", path)?;
                while matches!(text.last(), Some(b'\n' | b'\r')) {
                    text.pop();
                }
                Ok(Some(text))
            }
        }
    }
}
