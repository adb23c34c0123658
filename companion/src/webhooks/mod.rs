//! The relay: events of the database, sent as webhooks. The database decides what is due, to whom,
//! how it is signed and when it is tried again; the relay only carries it.

pub(crate) mod deliver;
pub(crate) mod destination;
pub(crate) mod listen;
pub(crate) mod record;
pub(crate) mod relay;
