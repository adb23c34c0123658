//! What pg_stat_activity shows of this process's statement, and with it every other session's record of
//! a deadlock and the postmaster's of a crash.
//!
//! Postgres puts the statement there before anything of ours can run; from then until it is parsed, some
//! microseconds, whoever may read the view can see it.
#![allow(unsafe_code)]

use super::{masked, sensitive};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::ptr::addr_of_mut;
use std::sync::atomic::{Ordering, compiler_fence};

/// What stands in the place of a statement that could not be parsed.
const MASKED: &CStr = c"<masked by pg_secrets>";

thread_local! {
    /// When the message came whose statement has been masked.
    static DONE: Cell<pg_sys::TimestampTz> = const { Cell::new(0) };
}

/// Shows the client's statement with its literals masked, or nothing of it where no memory is left.
pub(super) fn mask() {
    if DONE.get() == sensitive::message() {
        return;
    }
    // SAFETY: the statement is a C string or NULL; the copy is given back.
    unsafe {
        let text = pg_sys::debug_query_string;
        if !text.is_null() {
            let most = usize::try_from(pg_sys::pgstat_track_activity_query_size).unwrap_or(0);
            let copy = masked::try_copy(text, most, pg_sys::CurrentMemoryContext);
            if !copy.is_null() {
                overwrite(CStr::from_ptr(copy).to_bytes());
                masked::free(copy);
                DONE.set(sensitive::message());
            }
        }
    }
    hide();
}

/// Shows nothing of the statement, which may not even be one. Allocates nothing and does not raise.
pub(super) fn hide() {
    if DONE.get() != sensitive::message() {
        // SAFETY: in a process of the server.
        unsafe { overwrite(MASKED.to_bytes()) };
        DONE.set(sensitive::message());
    }
}

/// Called when a transaction is given up, as after a syntax error, when Postgres has forgotten the
/// statement already.
pub(crate) fn at_abort() {
    if cfg!(feature = "unredacted") {
        return;
    }
    // SAFETY: the process's own entry, which nobody else writes; its text is a C string.
    let shown = unsafe {
        let entry = pg_sys::MyBEEntry;
        if entry.is_null() || (*entry).st_activity_raw.is_null() {
            return;
        }
        CStr::from_ptr((*entry).st_activity_raw)
    };
    if sensitive::is_text_sensitive(shown.to_bytes()) {
        hide();
    }
}

/// Writes the text into the process's entry: by the protocol of backend_status.h, under which a reader
/// tries again while the counter is odd or has changed.
///
/// # Safety
/// In a process of the server.
unsafe fn overwrite(text: &[u8]) {
    // SAFETY: the process's own entry, with as much room for the text as the setting says. Nothing in
    // between can raise or be interrupted.
    unsafe {
        let entry = pg_sys::MyBEEntry;
        let size = usize::try_from(pg_sys::pgstat_track_activity_query_size).unwrap_or(0);
        if entry.is_null() || size == 0 || (*entry).st_activity_raw.is_null() {
            return;
        }
        let shown: *mut c_char = (*entry).st_activity_raw;
        if *shown == 0 {
            // The activity is not tracked.
            return;
        }
        let changes = addr_of_mut!((*entry).st_changecount);
        pg_sys::CritSectionCount += 1;
        changes.write_volatile(changes.read_volatile().wrapping_add(1));
        std::sync::atomic::fence(Ordering::SeqCst);
        let length = text.len().min(size - 1);
        let room = std::slice::from_raw_parts_mut(shown.cast::<u8>(), size);
        room[..length].copy_from_slice(&text[..length]);
        room[length..].fill(0);
        std::sync::atomic::fence(Ordering::SeqCst);
        changes.write_volatile(changes.read_volatile().wrapping_add(1));
        pg_sys::CritSectionCount -= 1;
        compiler_fence(Ordering::SeqCst);
    }
}
