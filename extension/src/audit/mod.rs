//! The audit: what is recorded of reads and of changes.

mod announce;
mod bookkeeper;
mod chain;
pub(crate) mod changes;
mod denials;
pub(crate) mod durable;
mod encoded;
pub(crate) mod head;
pub(crate) mod list;
mod progress;
pub(crate) mod protection;
pub(crate) mod reads;
pub(crate) mod record;
pub(crate) mod renewal;
mod retention;
pub(crate) mod ring;
mod segment;
mod signed;
mod table;
mod usage;
pub(crate) mod verify;
mod walk;
pub(crate) mod writer;
