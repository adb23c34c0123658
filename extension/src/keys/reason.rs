//! Why keys cannot be used: texts for people, without key material.

use pg_secrets_openpgp::KeyError;
use std::fmt::Display;
use std::io::ErrorKind;

/// What is wrong, and what to do about it where that is something particular.
pub(crate) struct Reason {
    pub(super) text: String,
    pub(super) hint: Option<&'static str>,
}

impl Reason {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
        }
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(file: &dyn Display, error: &std::io::Error) -> Self {
        Self {
            text: format!("{file} cannot be read: {error}"),
            hint: match error.kind() {
                ErrorKind::PermissionDenied => Some(
                    "The account that the Postgres server runs as must own the file, and be able to enter the folders above it: chown postgres: FILE; chmod 600 FILE.",
                ),
                _ => None,
            },
        }
    }

    /// Keys that cannot be used; `from` says where they come from.
    pub(super) fn unusable(from: &dyn Display, error: &KeyError) -> Self {
        Self {
            text: format!("the key in {from} cannot be used: {error}"),
            hint: match error {
                KeyError::PassphraseMissing(_) | KeyError::PassphraseWrong(_) => Some(
                    "The passphrase comes by the server's environment. PG_SECRETS_KEY_PASSPHRASE is read at its start alone; the file that PG_SECRETS_KEY_PASSPHRASE_FILE names is read again with every reload.",
                ),
                _ => None,
            },
        }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}
