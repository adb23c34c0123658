//! The life of a secret: made, read, rotated, deleted.

pub(crate) mod blast_radius;
pub(crate) mod consumers;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod duration;
pub(crate) mod generator;
pub(crate) mod grace;
pub(crate) mod list;
pub(crate) mod policy;
pub(crate) mod read;
pub(crate) mod rotate;
pub(crate) mod value;
pub(crate) mod version;
