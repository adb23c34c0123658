//! Keeping values out of the server's log.

pub(crate) mod log_hook;
