//! The keys of the server: where they come from, and the one keyring that holds them.

pub(crate) mod dumps;
mod environment;
pub(crate) mod keyring;
