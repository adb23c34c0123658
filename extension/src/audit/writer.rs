//! The audit worker: it commits the records that wait in the ring, all of them in one transaction, and
//! lets their readers go on when that is flushed.
//!
//! It waits for the disk and for a synchronous standby whatever the server's settings say. When the
//! server stops while it waits, the wait ends without the standby's word: then nobody is let go on.
#![allow(unsafe_code)]

use crate::audit::ring::{self, Taken};
use crate::backend::latch;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::gucs;
use crate::keys::core_dumps;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::time::Duration;

/// How often to look whether the extension is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Settings that a database or a role may have for others, and that must not hold for the audit.
const SETTINGS: &[(&CStr, &CStr)] = &[
    (c"synchronous_commit", c"on"),
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

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.audit_logs (id, at, action, outcome, actor, login, project_id, secret_id, name, version, service, client_address, application_name, request_id, detail) SELECT r.id, timestamptz '2000-01-01 00:00:00+00' + r.at * interval '1 microsecond', r.action, r.outcome, r.actor, r.login, r.project_id, r.secret_id, r.name, r.version, r.service, r.client_address, r.application_name, r.request_id, r.detail FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, at bigint, action text, outcome text, actor text, login text, project_id text, secret_id uuid, name text, version integer, service text, client_address inet, application_name text, request_id text, detail jsonb)",
);

static NOT_RELEASED: Statement = Statement::new(
    c"UPDATE control_plane.audit_logs AS a SET outcome = 'not released' FROM jsonb_to_recordset($1::jsonb) AS r (id uuid) WHERE a.id = r.id AND a.outcome = 'success'",
);

unsafe extern "C-unwind" {
    // The handlers themselves: pgrx's are wrapped, which a signal handler must not be.
    fn die(signal: core::ffi::c_int);
    #[link_name = "SignalHandlerForConfigReload"]
    fn reload_config(signal: core::ffi::c_int);
}

/// The worker's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgs_auditor_main(_argument: pg_sys::Datum) {
    core_dumps::refuse();
    attach_signals();
    BackgroundWorker::connect_worker_to_spi(Some(&gucs::database()), None);
    for (name, value) in SETTINGS.iter().copied() {
        override_setting(name, value);
    }
    if !BackgroundWorker::transaction(extension_exists) {
        return;
    }
    if !ring::become_worker() {
        return;
    }
    let owner = table_owner();
    loop {
        let taken = ring::take();
        if taken.is_empty() {
            report_statistics();
            if !latch::wait(LOOK_AGAIN) && !BackgroundWorker::transaction(extension_exists) {
                return;
            }
        } else {
            commit(&taken, owner);
            report_statistics();
        }
        check_for_interrupts();
    }
}

/// SIGTERM ends a wait of any kind; SIGINT, which would end just the wait for a standby, does nothing.
fn attach_signals() {
    // SAFETY: handlers of Postgres's own, set before any signal is let through.
    unsafe {
        let set = |signal: i32, handler: pg_sys::pqsigfunc| {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pqsignal(signal, handler);
            #[cfg(feature = "pg18")]
            pg_sys::pqsignal_be(signal, handler);
        };
        set(libc::SIGTERM, Some(die));
        set(libc::SIGHUP, Some(reload_config));
        set(libc::SIGINT, Some(ignore));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

unsafe extern "C-unwind" fn ignore(_signal: core::ffi::c_int) {}

fn override_setting(name: &CStr, value: &CStr) {
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

fn extension_exists() -> bool {
    // SAFETY: a lookup by a valid C string, in a transaction.
    unsafe { pg_sys::get_extension_oid(c"pg_secrets".as_ptr(), true) != pg_sys::InvalidOid }
}

static OWNER: Statement = Statement::new(
    c"SELECT c.relowner::bigint FROM pg_catalog.pg_class AS c WHERE c.oid = 'control_plane.audit_logs'::regclass",
);

/// The owner of the audit's table.
fn table_owner() -> pg_sys::Oid {
    let find = || -> Result<Option<i64>> {
        Session::with(|session| {
            Ok(session
                .run(&OWNER, &[])?
                .first()
                .and_then(|row| row.bigint(0)))
        })
    };
    let owner = BackgroundWorker::transaction(|| find().unwrap_or_default());
    let owner = owner.and_then(|owner| u32::try_from(owner).ok());
    pg_sys::Oid::from(owner.expect("the audit's table has an owner"))
}

/// Commits the records and lets their readers go on.
fn commit(taken: &[Taken], owner: pg_sys::Oid) {
    // An error in here ends this process. The launcher starts it again, and what it had taken fails.
    let records = taken.iter().map(|one| one.record.as_slice());
    transaction(&INSERT, records, owner, Some(taken.len() as u64));
    // SAFETY: reads the process's own state.
    let stopping = unsafe { pg_sys::ProcDiePending != 0 };
    let left: Vec<&Taken> = taken
        .iter()
        .filter(|one| one.finish(!stopping) || one.abandoned)
        .collect();
    if !left.is_empty() {
        let records = left.iter().map(|one| one.record.as_slice());
        transaction(&NOT_RELEASED, records, owner, None);
    }
}

/// Runs a statement over records in a transaction of its own, as the owner of the table: triggers that
/// somebody hung on it do not run as this process's superuser. `expected` is how many rows it must
/// write; with another number nothing is committed.
fn transaction<'r>(
    statement: &Statement,
    records: impl Iterator<Item = &'r [u8]>,
    owner: pg_sys::Oid,
    expected: Option<u64>,
) {
    let mut list = Vec::from(b"[");
    for record in records {
        if list.len() > 1 {
            list.push(b',');
        }
        list.extend_from_slice(record);
    }
    list.push(b']');
    let list = String::from_utf8(list).expect("records are JSON");
    let run = || -> Result<u64> {
        Session::with(|session| {
            let rows = session.run(statement, &[Param::Text(Some(&list))])?;
            Ok(rows.affected())
        })
    };
    BackgroundWorker::transaction(|| {
        let restricted =
            (pg_sys::SECURITY_RESTRICTED_OPERATION | pg_sys::SECURITY_LOCAL_USERID_CHANGE) as i32;
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: plain assignments to the process's own state; an error ends the process.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
            pg_sys::SetUserIdAndSecContext(owner, context | restricted);
        }
        // A failure is a panic in here: the transaction would be committed otherwise.
        let written = run().expect("the records are written");
        assert!(
            expected.is_none_or(|expected| written == expected),
            "records of the audit did not arrive in its table"
        );
        // SAFETY: as above. A trigger may have changed how the commit waits.
        unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
        override_setting(c"synchronous_commit", c"on");
    });
}

/// Autovacuum goes by what processes report of their changes; a session does so when it is idle.
fn report_statistics() {
    // SAFETY: outside of any transaction.
    unsafe { pg_sys::pgstat_report_stat(false) };
}

fn check_for_interrupts() {
    // SAFETY: outside of any transaction of ours; reads and resets the process's own flags.
    unsafe {
        pg_sys::check_for_interrupts!();
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}
