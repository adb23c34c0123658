//! The life of a secret: made, read, rotated, deleted.

pub(crate) mod consumers;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod grace;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod rotate;
pub(crate) mod value;
pub(crate) mod version;
