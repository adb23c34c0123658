//! The face towards Postgres: everything that is `unsafe` about arguments, results, SPI, errors and
//! the current user stands in these modules, each with a safe face.

pub(crate) mod answer;
pub(crate) mod arguments;
pub(crate) mod client;
pub(crate) mod entry;
pub(crate) mod latch;
pub(crate) mod lock_waits;
pub(crate) mod owner;
pub(crate) mod planner;
pub(crate) mod raise;
pub(crate) mod session;
pub(crate) mod setting;
pub(crate) mod timestamp;
pub(crate) mod transaction;
