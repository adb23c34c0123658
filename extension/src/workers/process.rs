//! What the workers that write into the tables of pg_secrets have in common: how they begin, which
//! settings hold for them, and as whom they write.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::gucs;
use crate::keys::core_dumps;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Settings that a database or a role may have for others, and that must not hold for a worker.
const SETTINGS: &[(&CStr, &CStr)] = &[
    // A database may have a role for whoever connects.
    (c"role", c"none"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_deferrable", c"off"),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", c"0"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"session_replication_role", c"origin"),
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    (c"transaction_timeout", c"0"),
];

unsafe extern "C-unwind" {
    // The handlers themselves: pgrx's are wrapped, which a signal handler must not be.
    fn die(signal: core::ffi::c_int);
    #[link_name = "SignalHandlerForConfigReload"]
    fn reload_config(signal: core::ffi::c_int);
    #[link_name = "StatementCancelHandler"]
    fn cancel_statement(signal: core::ffi::c_int);
    #[link_name = "IsTransactionState"]
    fn is_in_transaction() -> bool;
}

/// Makes this process a worker in the database of the extension; false where that is not installed.
pub(crate) fn begin() -> bool {
    core_dumps::refuse();
    attach_signals();
    BackgroundWorker::connect_worker_to_spi(Some(&gucs::database()), None);
    for (name, value) in SETTINGS.iter().copied() {
        override_setting(name, value);
    }
    is_wanted()
}

/// SIGTERM ends a wait of any kind; SIGINT, which would end just the wait for a standby, does nothing.
fn attach_signals() {
    // SAFETY: handlers of Postgres's own, set before any signal is let through.
    unsafe {
        handle(libc::SIGTERM, Some(die));
        handle(libc::SIGHUP, Some(reload_config));
        handle(libc::SIGINT, Some(ignore));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// # Safety
/// The handler does what a signal handler may.
unsafe fn handle(signal: i32, handler: pg_sys::pqsigfunc) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal, handler);
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal, handler);
    }
}

/// From now on a wait for a lock ends after this time: Postgres ends it by a SIGINT of the process to itself. For
/// a worker that waits for no standby.
pub(crate) fn wait_for_locks_at_most(time: &CStr) {
    override_setting(c"lock_timeout", time);
    // SAFETY: a handler that does what one of Postgres's own does.
    unsafe { handle(libc::SIGINT, Some(cancel_work)) };
}

/// Outside of a transaction there is nothing to cancel.
unsafe extern "C-unwind" fn cancel_work(signal: core::ffi::c_int) {
    // SAFETY: reads the process's own state, and Postgres's own handler.
    unsafe {
        if is_in_transaction() {
            cancel_statement(signal);
        }
    }
}

unsafe extern "C-unwind" fn ignore(_signal: core::ffi::c_int) {}

/// Sets what nobody else's setting may change.
pub(crate) fn override_setting(name: &CStr, value: &CStr) {
    // SAFETY: valid C strings.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Whether the extension is installed.
pub(crate) fn is_wanted() -> bool {
    BackgroundWorker::transaction(|| {
        // SAFETY: a lookup by a valid C string, in a transaction.
        unsafe { pg_sys::get_extension_oid(c"pg_secrets".as_ptr(), true) != pg_sys::InvalidOid }
    })
}

/// Runs `work` as the owner of the tables, inside a transaction: what somebody hung on them does not run
/// as this process's superuser.
pub(crate) fn as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let owner = table_owner().ok_or_else(|| Error::internal("the audit's table is gone"))?;
    let restricted =
        (pg_sys::SECURITY_RESTRICTED_OPERATION | pg_sys::SECURITY_LOCAL_USERID_CHANGE) as i32;
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: plain assignments to the process's own state; an error leaves their end to the abort.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        pg_sys::SetUserIdAndSecContext(owner, context | restricted);
    }
    let done = work()?;
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
    Ok(done)
}

fn table_owner() -> Option<pg_sys::Oid> {
    // SAFETY: lookups in a transaction; the row of pg_class is read before it is released.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"control_plane".as_ptr(), true);
        let table = pg_sys::get_relname_relid(c"audit_logs".as_ptr(), schema);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let row = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(table));
        if row.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(row);
        Some(owner)
    }
}

/// Autovacuum goes by what processes report of their changes; a session does so when it is idle.
pub(crate) fn report_statistics() {
    // SAFETY: outside of any transaction.
    unsafe { pg_sys::pgstat_report_stat(false) };
}

/// Ends the process where it was told to, and takes over a new configuration.
pub(crate) fn check_for_interrupts() {
    // SAFETY: outside of any transaction of ours; reads and resets the process's own flags.
    unsafe {
        // There is no statement to cancel any more.
        pg_sys::QueryCancelPending = 0;
        pg_sys::check_for_interrupts!();
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Whether the process was told to end.
pub(crate) fn is_stopping() -> bool {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::ProcDiePending != 0 }
}
