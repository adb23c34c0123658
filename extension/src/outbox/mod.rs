//! Events and where they go: the outbox, endpoints, and the deliveries that a relay carries.

pub(crate) mod claim;
pub(crate) mod deliveries;
pub(crate) mod endpoints;
pub(crate) mod event;
pub(crate) mod finish;
mod health;
pub(crate) mod redeliver;
pub(crate) mod release;
pub(crate) mod retention;
pub(crate) mod settings;
mod turns;
