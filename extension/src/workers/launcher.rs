//! The launcher: always there, connected to no database, and silent. It starts the other workers
//! where the database of the extension exists, and again when they ended.
#![allow(unsafe_code)]

use crate::gucs;
use crate::keys::core_dumps;
use crate::workers::wake;
use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime,
    DynamicBackgroundWorker, SignalWakeFlags,
};
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::time::Duration;

/// How often to look whether the database or the extension has come to be by another way than
/// CREATE EXTENSION, which wakes the launcher.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Registers the launcher; once, while the library is preloaded.
pub(crate) fn register() {
    BackgroundWorkerBuilder::new("pg_secrets launcher")
        .set_type("pg_secrets launcher")
        .set_library("pg_secrets")
        .set_function("pgs_launcher_main")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// The launcher's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgs_launcher_main(_argument: pg_sys::Datum) {
    core_dumps::refuse();
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    // Shared catalogues only: no database is held open by the launcher.
    BackgroundWorker::connect_worker_to_spi(None, None);
    wake::become_launcher();
    let mut auditor: Option<DynamicBackgroundWorker> = None;
    let mut notifier: Option<DynamicBackgroundWorker> = None;
    loop {
        let mut wanted = vec![(&mut auditor, AUDITOR)];
        if gucs::workers() {
            wanted.push((&mut notifier, NOTIFIER));
        }
        for (worker, kind) in wanted {
            if !worker.as_ref().is_some_and(lives) && database_exists() {
                *worker = start(kind);
            }
        }
        if !BackgroundWorker::wait_latch(Some(LOOK_AGAIN)) {
            break;
        }
    }
}

/// Whether a worker runs, or is about to. Its start is not waited for: a server that is told to stop
/// in that moment starts nothing more, and would wait for us.
fn lives(worker: &DynamicBackgroundWorker) -> bool {
    matches!(
        worker.pid(),
        Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted)
    )
}

/// Whether the database of the extension is there. A process without a database has no catalogue
/// cache to ask: it reads the shared catalogue from its beginning.
fn database_exists() -> bool {
    let wanted = gucs::database();
    BackgroundWorker::transaction(|| {
        // SAFETY: a scan of a shared catalogue in a transaction, ended before it; each tuple is a
        // row of pg_database.
        unsafe {
            let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
            let catalogue = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
            let scan = pg_sys::table_beginscan_catalog(catalogue, 0, std::ptr::null_mut());
            let mut found = false;
            while !found {
                let forward = pg_sys::ScanDirection::ForwardScanDirection;
                let tuple = pg_sys::heap_getnext(scan, forward);
                if tuple.is_null() {
                    break;
                }
                let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
                // Another database's name may be in any encoding.
                let name = CStr::from_ptr((*row).datname.data.as_ptr());
                found = name.to_bytes() == wanted.as_bytes();
            }
            pg_sys::table_endscan(scan);
            pg_sys::table_close(catalogue, lock);
            found
        }
    })
}

/// A worker that the launcher keeps running.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    function: &'static str,
}

const AUDITOR: Kind = Kind {
    name: "pg_secrets auditor",
    function: "pgs_auditor_main",
};

const NOTIFIER: Kind = Kind {
    name: "pg_secrets notifier",
    function: "pgs_notifier_main",
};

fn start(kind: Kind) -> Option<DynamicBackgroundWorker> {
    // SAFETY: set in every process of the server.
    let own_pid = unsafe { pg_sys::MyProcPid };
    BackgroundWorkerBuilder::new(kind.name)
        .set_type(kind.name)
        .set_library("pg_secrets")
        .set_function(kind.function)
        .enable_spi_access()
        .set_restart_time(None)
        // Its end wakes the launcher, which starts it again.
        .set_notify_pid(own_pid)
        .load_dynamic()
        .ok()
}
