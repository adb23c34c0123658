//! The launcher: always there, connected to no database, and silent. It starts the other workers
//! where the database of the extension exists, and again when they ended.
#![allow(unsafe_code)]

use crate::audit::ring;
use crate::gucs;
use crate::keys::core_dumps;
use crate::workers::wake;
use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime,
    DynamicBackgroundWorker, SignalWakeFlags,
};
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// How often to look whether the database or the extension has come to be by another way than
/// CREATE EXTENSION, which wakes the launcher.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What has lived for so long did not end for something that will be the same in a moment.
const LONG_LIFE: Duration = Duration::from_secs(5);

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

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
    ignore_cancellation();
    wake::become_launcher();
    let mut workers = vec![Worker::new(AUDITOR), Worker::new(BOOKKEEPER)];
    if gucs::workers() {
        workers.extend([NOTIFIER, MAINTENANCE].map(Worker::new));
    }
    let mut launches = wake::launches();
    loop {
        // Somebody has just installed the extension: what ended for want of it is wanted now.
        let asked = std::mem::replace(&mut launches, wake::launches()) != wake::launches();
        let mut look_again = LOOK_AGAIN;
        for worker in &mut workers {
            if asked {
                worker.pause = Duration::ZERO;
            }
            look_again = look_again.min(worker.keep());
        }
        if !BackgroundWorker::wait_latch(Some(look_again)) {
            break;
        }
    }
    // With 0 the postmaster would not start the launcher again, whoever terminated it.
    // SAFETY: the process ends here, with nothing to drop that matters.
    unsafe { pg_sys::proc_exit(1) };
}

/// The launcher has no statement that could be cancelled.
fn ignore_cancellation() {
    // SAFETY: sets how a signal is handled; the handler does nothing.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(libc::SIGINT, Some(ignore));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(libc::SIGINT, Some(ignore));
    }
}

unsafe extern "C-unwind" fn ignore(_signal: core::ffi::c_int) {}

/// A worker that the launcher keeps running.
struct Worker {
    kind: Kind,
    handle: Option<DynamicBackgroundWorker>,
    started: Instant,
    /// How long to wait after its start before it is started again.
    pause: Duration,
}

impl Worker {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            handle: None,
            started: Instant::now(),
            pause: Duration::ZERO,
        }
    }

    /// Starts it if it does not run; answers when to look again. One that ends as soon as it has begun
    /// is left alone for a while, and for longer each time.
    fn keep(&mut self) -> Duration {
        if self.handle.as_ref().is_some_and(lives) {
            return LOOK_AGAIN;
        }
        // One that an earlier launcher has started.
        if (self.kind.runs)() {
            return SHORTEST_PAUSE;
        }
        let since = self.started.elapsed();
        if self.handle.take().is_some() {
            self.pause = if since > LONG_LIFE {
                Duration::ZERO
            } else {
                (self.pause * 2).clamp(SHORTEST_PAUSE, self.kind.longest_pause)
            };
        }
        if since < self.pause {
            return self.pause - since;
        }
        if !database_exists() {
            return LOOK_AGAIN;
        }
        self.started = Instant::now();
        self.handle = start(self.kind);
        if self.handle.is_none() {
            pgrx::warning!(
                "{} cannot be started: there is no free background worker; raise max_worker_processes",
                self.kind.name
            );
            self.pause = SHORTEST_PAUSE;
            return SHORTEST_PAUSE;
        }
        LOOK_AGAIN
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

/// Which worker.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    function: &'static str,
    /// Whether one runs, whoever has started it.
    runs: fn() -> bool,
    /// How long one that keeps ending is left alone at most.
    longest_pause: Duration,
}

const AUDITOR: Kind = Kind {
    name: "pg_secrets auditor",
    function: "pgs_auditor_main",
    runs: ring::has_worker,
    // Nothing is read without it.
    longest_pause: Duration::from_secs(2),
};

const BOOKKEEPER: Kind = Kind {
    name: "pg_secrets bookkeeper",
    function: "pgs_bookkeeper_main",
    runs: wake::has_bookkeeper,
    longest_pause: LOOK_AGAIN,
};

const NOTIFIER: Kind = Kind {
    name: "pg_secrets notifier",
    function: "pgs_notifier_main",
    runs: wake::has_notifier,
    longest_pause: LOOK_AGAIN,
};

const MAINTENANCE: Kind = Kind {
    name: "pg_secrets maintenance",
    function: "pgs_maintenance_main",
    runs: wake::has_maintenance,
    longest_pause: LOOK_AGAIN,
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
