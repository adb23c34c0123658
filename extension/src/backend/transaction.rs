//! What ends with the transaction: who was authenticated, what change was declared; and what
//! starts with its commit: the wake-up of the workers. And the transactions of the workers themselves.
#![allow(unsafe_code)]

use crate::error::Result;
use crate::{access, audit, redaction, workers};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_guard, pg_sys};
use std::panic::AssertUnwindSafe;

/// Registers the callback; once, when the library is loaded.
pub(crate) fn register_callback() {
    // SAFETY: a function that lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _arg: *mut core::ffi::c_void) {
    let committed = match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => true,
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            redaction::activity::at_abort();
            false
        }
        pg_sys::XactEvent::XACT_EVENT_PREPARE => false,
        _ => return,
    };
    access::identity::forget();
    audit::changes::forget();
    workers::wake::at_end(committed);
}

/// Runs `work` in a transaction of a worker's own. Where it fails, or the commit does, nothing of it is
/// kept and the reason is told: the worker goes on. A worker that is told to end does so from in here.
pub(crate) fn attempt<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    let run = AssertUnwindSafe(|| {
        // SAFETY: no transaction is open; it is ended here, or by the abort below.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let done = work().map_err(|error| error.message)?;
        // SAFETY: as above.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(done)
    });
    let outcome = PgTryBuilder::new(run)
        .catch_others(|caught| {
            Err(match caught {
                CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                    report.message().to_owned()
                }
                CaughtError::RustPanic { ereport, .. } => ereport.message().to_owned(),
            })
        })
        .execute();
    if outcome.is_err() {
        // SAFETY: ends whatever is left of the transaction, in any state that an error leaves it in.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    outcome
}
