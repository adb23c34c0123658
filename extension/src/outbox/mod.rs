//! Events, the endpoints that want them, and their deliveries.

pub(crate) mod claim;
pub(crate) mod endpoints;
pub(crate) mod event;
