//! Whether the library was loaded at the server's start, as it must be: shared memory, workers and
//! the parsing of the key before fork all depend on it.

#![allow(unsafe_code)]

use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::sync::OnceLock;

static PRELOADED: OnceLock<()> = OnceLock::new();

/// Called once, when the postmaster has loaded the library.
pub(crate) fn mark() {
    PRELOADED.get_or_init(|| ());
}

/// Refuses in a server that did not preload the library.
pub(crate) fn require() -> Result<()> {
    if PRELOADED.get().is_some() {
        return Ok(());
    }
    Err(
        Error::unavailable("pg_secrets is not preloaded by this server").with_hint(
            "Put pg_secrets last into shared_preload_libraries in postgresql.conf, and restart the server.",
        ),
    )
}

/// Whether the postmaster is preloading libraries just now.
pub(crate) fn in_progress() -> bool {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether the server runs for pg_upgrade, which wants no workers.
pub(crate) fn in_pg_upgrade() -> bool {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// A library that is loaded after ours sees log records before ours can mask them.
pub(crate) fn warn_if_not_last() {
    // SAFETY: a C string or NULL that the server keeps.
    let listed = unsafe {
        let text = pg_sys::shared_preload_libraries_string;
        if text.is_null() {
            return;
        }
        CStr::from_ptr(text).to_string_lossy()
    };
    let last = listed.rsplit(',').next().unwrap_or("");
    if !last.trim().trim_matches('"').ends_with("pg_secrets") {
        pgrx::warning!(
            "pg_secrets is not the last library in shared_preload_libraries: those behind it see log records before they are masked"
        );
    }
}
