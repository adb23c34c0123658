//! The one keyring of the server, parsed in the postmaster before it forks: every backend has it
//! without reading or parsing anything, and none can be without it while another has it.

use crate::error::{Error, Result};
use crate::keys::environment;
use pg_secrets_openpgp::{Keyring, OpenError, SealError, Sealed};
use std::sync::OnceLock;
use uuid::Uuid;
use zeroize::Zeroizing;

static KEYRING: OnceLock<std::result::Result<Keyring, String>> = OnceLock::new();

/// Loads the keys; once, in the postmaster. Answers why there are none, for the server's log.
pub(crate) fn load() -> Option<&'static str> {
    match KEYRING.get_or_init(environment::load) {
        Ok(_) => None,
        Err(reason) => Some(reason),
    }
}

/// The keyring, or the error that says what to do to have one. Asked for at the beginning of every
/// function that needs it: nothing is ever written unencrypted.
pub(crate) fn require() -> Result<&'static Keyring> {
    match KEYRING.get() {
        Some(Ok(keyring)) => Ok(keyring),
        Some(Err(reason)) => Err(Error::unavailable(format!("pg_secrets has no key: {reason}"))
            .with_hint(
                "Set PG_SECRETS_KEY_FILE to a file with an OpenPGP secret key (pg-secrets keygen --output FILE makes one) in the environment of the server, and restart it.",
            )),
        None => Err(Error::internal("the keyring was not loaded")),
    }
}

/// Seals a value for the row with this id.
pub(crate) fn seal(row: Uuid, value: &[u8]) -> Result<Sealed> {
    require()?.seal(row, value).map_err(|error| {
        let hint = match error {
            SealError::Expired(_) => {
                "Put a key that is valid into PG_SECRETS_KEY_FILE, before the expired one, and restart the server."
            }
            SealError::Failed(_) => "Look into the server's log, and check the key with gpg or sq.",
        };
        Error::unavailable(format!("pg_secrets cannot encrypt: {error}")).with_hint(hint)
    })
}

/// Opens the message of the row with this id. `fingerprint` is the key that it was sealed to.
pub(crate) fn open(
    row: Uuid,
    message: &[u8],
    limit: usize,
    fingerprint: &str,
) -> Result<Zeroizing<Vec<u8>>> {
    require()?.open(row, message, limit).map_err(|error| match error {
        OpenError::NoKey => Error::unavailable(format!(
            "version {row} is encrypted to key {fingerprint}, which this server does not have"
        ))
        .with_hint("Add that key to PG_SECRETS_KEY_FILE, behind the primary one, and restart the server."),
        OpenError::Malformed | OpenError::NotBound => Error::unprocessable(format!(
            "the stored value of version {row} is not what this server wrote there: {error}"
        ))
        .with_hint("Somebody changed the table past the functions of pg_secrets; restore the row from a backup."),
        OpenError::TooLong(_) => Error::too_large(format!(
            "the value of version {row} is longer than this server reads"
        )),
    })
}
