//! The OpenPGP messages of pg_secrets (RFC 9580): which keys there are, how a value is sealed to
//! the primary one, and how a message is opened and proved to belong to its row.
//!
//! Nothing in here knows Postgres: the extension hands in bytes and gets bytes, and every error is
//! free of values and key material.

mod binding;
mod generate;
mod keyring;
mod open;
mod seal;

pub use generate::{Profile, generate};
pub use keyring::{KeyError, Keyring};
pub use open::OpenError;
pub use seal::{SealError, Sealed};
