//! Background workers: a quiet launcher, and in the database of the extension the notifier and the auditor
//! (`audit/writer.rs`).

pub(crate) mod launcher;
pub(crate) mod notifier;
pub(crate) mod wake;
