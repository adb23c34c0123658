//! The notifier: after commits that left something to deliver it sends one NOTIFY for all of them,
//! without a payload. It ends where the extension is not installed.
#![allow(unsafe_code)]

use crate::backend::latch;
use crate::gucs;
use crate::keys::core_dumps;
use crate::workers::wake;
use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::{Spi, pg_guard, pg_sys};
use std::time::Duration;

/// How often to look whether the extension is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The notifier's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgs_notifier_main(_argument: pg_sys::Datum) {
    core_dumps::refuse();
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi(Some(&gucs::database()), None);
    if !wake::become_notifier() {
        return;
    }
    // What was committed before this process was there to be woken is told now.
    let mut woken = true;
    loop {
        let installed = BackgroundWorker::transaction(|| {
            if !extension_exists() {
                return false;
            }
            if woken {
                notify();
            }
            true
        });
        if !installed {
            break;
        }
        woken = latch::wait(LOOK_AGAIN);
        if BackgroundWorker::sigterm_received() {
            break;
        }
    }
}

fn extension_exists() -> bool {
    // SAFETY: a lookup by a valid C string, in a transaction.
    unsafe { pg_sys::get_extension_oid(c"pg_secrets".as_ptr(), true) != pg_sys::InvalidOid }
}

fn notify() {
    // Nothing of it needs to be durable, and a commit that waits for a standby that is gone would
    // keep the server from stopping.
    Spi::run("SET LOCAL synchronous_commit TO off").expect("synchronous_commit");
    // A failure ends this process with an error in the log; the launcher starts it again, and the
    // relays poll meanwhile.
    Spi::run("SELECT pg_catalog.pg_notify('pg_secrets', '')").expect("pg_notify");
}
