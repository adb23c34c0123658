//! How long a read may wait for a lock. Nobody's open transaction may hold it up for longer than it would
//! wait for its record.
#![allow(unsafe_code)]

use crate::error::Error;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CString;
use std::time::Duration;

thread_local! {
    static LIMITED: Cell<bool> = const { Cell::new(false) };
}

/// From now on until the SQL function that was called returns, no wait for a lock takes longer than
/// `most`. A shorter lock_timeout of the caller's stays.
pub(crate) fn limit(most: Duration) {
    let most = i32::try_from(most.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: reads the process's own state.
    let own = unsafe { pg_sys::LockTimeout };
    if own > 0 && own <= most {
        return;
    }
    let value = CString::new(most.to_string()).unwrap_or_default();
    // SAFETY: valid C strings. The function's own SET search_path has opened a level of settings, which
    // ends with the function, or with its transaction.
    unsafe {
        pg_sys::set_config_option(
            c"lock_timeout".as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
    LIMITED.set(true);
}

/// What to say where a wait took too long, if it was limited in here.
pub(super) fn exceeded() -> Option<Error> {
    LIMITED.take().then(|| {
        Error::unrecordable("somebody has locked what this call needs, and nothing is released")
            .with_hint(
                "Look in pg_locks who holds a lock on a table of control_plane, as pg_blocking_pids() tells of this session while it waits; then try again.",
            )
    })
}

/// Begins a call, which knows nothing of the limit of another; gives what is to be set again behind it.
pub(super) fn begin() -> bool {
    LIMITED.replace(false)
}

/// Ends it, for one that it was called from.
pub(super) fn end(outer: bool) {
    LIMITED.set(outer);
}
