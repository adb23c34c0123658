//! The keys of the server: where they come from, the one keyring that holds them, and the functions
//! of SQL that are about keys and messages rather than about a secret.

pub(crate) mod core_dumps;
mod environment;
mod file;
pub(crate) mod key_file;
pub(crate) mod keyring;
pub(crate) mod list;
pub(crate) mod messages;
mod pages;
mod passphrase;
mod reason;
pub(crate) mod reencrypt;
pub(crate) mod verify;
