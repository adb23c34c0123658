//! The audit: what is recorded of reads and of changes.

pub(crate) mod changes;
pub(crate) mod durable;
pub(crate) mod list;
pub(crate) mod reads;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod writer;
