//! The life of a secret: made, read, rotated, rolled back, destroyed, deleted, restored, purged.

pub(crate) mod blast_radius;
pub(crate) mod check;
pub(crate) mod consumers;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod destroy;
pub(crate) mod duration;
pub(crate) mod expiring;
pub(crate) mod extend;
pub(crate) mod generator;
pub(crate) mod grace;
pub(crate) mod hold;
pub(crate) mod list;
pub(crate) mod page;
pub(crate) mod policy;
pub(crate) mod purge;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod rotate;
pub(crate) mod schedule;
pub(crate) mod value;
pub(crate) mod version;
