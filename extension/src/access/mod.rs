//! Who is calling, and what that caller may do.

pub(crate) mod claims;
pub(crate) mod expiry;
pub(crate) mod grants;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod rejected_tokens;
pub(crate) mod requests;
pub(crate) mod rights;
pub(crate) mod strong_locks;
pub(crate) mod token_uses;
pub(crate) mod tokens;
pub(crate) mod visible_rows;
