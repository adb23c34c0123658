//! The keys of the server: where they come from, and the one keyring that holds them.

mod environment;
pub(crate) mod keyring;
