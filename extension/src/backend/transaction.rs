//! What ends with the transaction: who was authenticated, what change was declared; and what
//! starts with its commit: the wake-up of the workers. And pieces of work that may fail without failing
//! what is around them: a worker's transactions, and subtransactions.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::{access, audit, redaction, workers};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_guard, pg_sys};
use std::panic::AssertUnwindSafe;

/// Registers the callback; once, when the library is loaded.
pub(crate) fn register_callback() {
    // SAFETY: a function that lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _arg: *mut core::ffi::c_void) {
    let committed = match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            redaction::sensitive::at_commit();
            true
        }
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

/// Why a piece of work failed, of which nothing is kept.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Whether it only met with somebody else's work, and is to be tried again soon.
    pub(crate) collided: bool,
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.message
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            message: error.message,
            collided: false,
        }
    }
}

impl From<&CaughtError> for Failure {
    fn from(caught: &CaughtError) -> Self {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        }) = caught;
        Self {
            message: report.message().to_owned(),
            collided: matches!(
                report.sql_error_code(),
                PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
                    | PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED
                    | PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE
            ),
        }
    }
}

/// Runs `work` in a transaction of a worker's own. Where it fails, or the commit does, nothing of it is
/// kept and the reason is told: the worker goes on. A worker that is told to end does so from in here.
pub(crate) fn attempt<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, Failure> {
    attempt_bare(|| {
        // SAFETY: in a transaction; the snapshot is given back, or ends with the abort.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        let done = work()?;
        // SAFETY: as above.
        unsafe { pg_sys::PopActiveSnapshot() };
        Ok(done)
    })
}

/// The same without a snapshot, which keeps what others have removed from being cleared away.
pub(crate) fn attempt_bare<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, Failure> {
    let run = AssertUnwindSafe(|| {
        // SAFETY: no transaction is open; it is ended here, or by the abort below.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
        }
        let done = work()?;
        // SAFETY: as above.
        unsafe { pg_sys::CommitTransactionCommand() };
        Ok(done)
    });
    let outcome = PgTryBuilder::new(run)
        .catch_others(|caught| Err(Failure::from(&caught)))
        .execute();
    if outcome.is_err() {
        // SAFETY: ends whatever is left of the transaction, in any state that an error leaves it in.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    outcome
}

/// Runs `work` in a subtransaction of the caller's transaction. Where it fails, nothing of it is kept and
/// the reason is told; but who is cancelled or told to end does not go on.
pub(crate) fn attempt_within<T>(
    work: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, Failure> {
    // SAFETY: the backend's own state; the subtransaction is ended here, or by the rollback below.
    let kept = unsafe {
        let kept = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(kept.0);
        kept
    };
    let go_back = || {
        // SAFETY: what was kept above outlives the subtransaction.
        unsafe {
            pg_sys::MemoryContextSwitchTo(kept.0);
            pg_sys::CurrentResourceOwner = kept.1;
        }
    };
    let run = AssertUnwindSafe(|| {
        let done = work()?;
        // SAFETY: as above.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        go_back();
        Ok(done)
    });
    let outcome = PgTryBuilder::new(run)
        .catch_others(|caught| {
            Err(Ended {
                failure: Failure::from(&caught),
                caught: is_end(&caught).then(|| Box::new(caught)),
            })
        })
        .execute();
    outcome.map_err(|ended| {
        // SAFETY: as above. Also before an error goes on: it would find this subtransaction open, and leave
        // the session in it.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
        go_back();
        if let Some(caught) = ended.caught {
            caught.rethrow();
        }
        ended.failure
    })
}

/// How a subtransaction ended that failed.
struct Ended {
    failure: Failure,
    /// The error that goes on.
    caught: Option<Box<CaughtError>>,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self {
            failure: error.into(),
            caught: None,
        }
    }
}

/// Whether an error ends the statement or the process whatever anybody makes of it.
fn is_end(caught: &CaughtError) -> bool {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic {
        ereport: report, ..
    }) = caught;
    matches!(
        report.sql_error_code(),
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_DATABASE_DROPPED
            | PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY
    )
}
