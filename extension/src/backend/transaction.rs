//! What ends with the transaction: who was authenticated, what change was declared; and what
//! starts with its commit: the wake-up of the workers.
#![allow(unsafe_code)]

use crate::{access, audit, workers};
use pgrx::{pg_guard, pg_sys};

/// Registers the callback; once, when the library is loaded.
pub(crate) fn register_callback() {
    // SAFETY: a function that lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _arg: *mut core::ffi::c_void) {
    let committed = match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => true,
        pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_PREPARE => false,
        _ => return,
    };
    access::identity::forget();
    audit::changes::forget();
    workers::wake::at_end(committed);
}
