//! Background workers: a quiet launcher, and in the database of the extension the auditor
//! (`audit/writer.rs`), the bookkeeper (`audit/bookkeeper.rs`) and the notifier.

pub(crate) mod launcher;
pub(crate) mod notifier;
pub(crate) mod process;
pub(crate) mod wake;
