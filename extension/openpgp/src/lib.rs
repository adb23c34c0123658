//! The OpenPGP messages of pg_secrets (RFC 9580): which keys there are, how a value is sealed to
//! the primary one, how a message is opened and proved to belong to its row, and how a text is signed
//! so that everybody can check it.
//!
//! Nothing in here knows Postgres: the extension hands in bytes and gets bytes, and every error is
//! free of values and key material.

mod armor;
mod binding;
mod cleartext;
mod decrypt;
mod generate;
mod keyring;
mod material;
mod open;
mod packets;
mod requests;
mod seal;
mod session_keys;
mod signed_text;
mod signer;

pub use armor::{ArmorError, armor, dearmor};
pub use binding::{Place, PlaceKind};
pub use decrypt::{DecryptError, Decrypted, decrypt_with_password};
pub use generate::{Profile, generate};
pub use keyring::{KeyDescription, KeyError, Keyring, SecretKeys};
pub use open::{OpenError, Opened};
pub use seal::{SealError, Sealed};
pub use session_keys::SessionKeys;
pub use signed_text::{LONGEST_SIGNED_MESSAGE, SignError, VerifiedText, VerifyTextError};
