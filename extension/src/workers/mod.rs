//! Background workers: a quiet launcher, and in the database of the extension the auditor
//! (`audit/writer.rs`), the bookkeeper (`audit/bookkeeper.rs`), the notifier and the maintenance
//! (`maintenance/worker.rs`).

pub(crate) mod launcher;
pub(crate) mod notifier;
pub(crate) mod process;
pub(crate) mod wake;
