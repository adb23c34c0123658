//! Waking the workers after a commit. NOTIFY in the caller's own transaction would serialise the
//! commits of the whole server, fail them when its queue is full, and forbid PREPARE TRANSACTION;
//! setting a latch does none of that.
#![allow(unsafe_code)]

use crate::backend::latch;
use pgrx::{PgAtomic, pg_guard, pg_shmem_init, pg_sys};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The address of a worker's latch in shared memory, which is the same in every process of the
/// server; 0 while there is none.
// SAFETY: the names are those of no other structure of ours.
static NOTIFIER: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets notifier") };
// SAFETY: as above.
static LAUNCHER: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets launcher") };
// SAFETY: as above.
static BOOKKEEPER: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets bookkeeper") };
// SAFETY: as above.
static MAINTENANCE: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets maintenance") };
/// How often ciphertext was erased since the server's start.
// SAFETY: as above.
static ERASURES: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets erasures") };
/// How often the launcher was asked for the workers.
// SAFETY: as above.
static LAUNCHES: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets launches") };

thread_local! {
    static NOTIFY_AT_COMMIT: Cell<bool> = const { Cell::new(false) };
    static RECORDED: Cell<bool> = const { Cell::new(false) };
    static CHANGED: Cell<bool> = const { Cell::new(false) };
    static ERASED: Cell<bool> = const { Cell::new(false) };
    static LAUNCH_AT_COMMIT: Cell<bool> = const { Cell::new(false) };
}

/// Asks for the shared memory; once, while the library is preloaded.
pub(crate) fn request_shared_memory() {
    pg_shmem_init!(NOTIFIER);
    pg_shmem_init!(LAUNCHER);
    pg_shmem_init!(BOOKKEEPER);
    pg_shmem_init!(MAINTENANCE);
    pg_shmem_init!(ERASURES);
    pg_shmem_init!(LAUNCHES);
}

/// After this transaction's commit the notifier tells the relays.
pub(crate) fn at_commit() {
    NOTIFY_AT_COMMIT.set(true);
}

/// After this transaction's commit the bookkeeper finds a new record.
pub(crate) fn recorded() {
    RECORDED.set(true);
}

/// Tells the bookkeeper of new records.
pub(crate) fn bookkeeper() {
    latch::set(BOOKKEEPER.get());
}

/// After this transaction's commit the maintenance looks when something is due.
pub(crate) fn changed() {
    CHANGED.set(true);
}

/// After this transaction's commit the maintenance knows of erased ciphertext.
pub(crate) fn erased() {
    ERASED.set(true);
}

/// After this transaction's commit the launcher looks again whether there is something to run.
pub(crate) fn launch_at_commit() {
    LAUNCH_AT_COMMIT.set(true);
}

/// Called at the end of every transaction.
pub(crate) fn at_end(committed: bool) {
    let notify = NOTIFY_AT_COMMIT.replace(false);
    let launch = LAUNCH_AT_COMMIT.replace(false);
    let changed = CHANGED.replace(false);
    let erased = ERASED.replace(false);
    if committed && erased {
        ERASURES.get().fetch_add(1, Ordering::AcqRel);
    }
    if committed && (changed || erased) {
        latch::set(MAINTENANCE.get());
    }
    if RECORDED.replace(false) && committed {
        bookkeeper();
    }
    if committed && notify {
        latch::set(NOTIFIER.get());
    }
    if committed && launch {
        LAUNCHES.get().fetch_add(1, Ordering::AcqRel);
        latch::set(LAUNCHER.get());
    }
}

/// This process is the notifier from now on; false where there is one.
pub(crate) fn become_notifier() -> bool {
    latch::claim(NOTIFIER.get())
}

/// Whether there is a notifier.
pub(crate) fn has_notifier() -> bool {
    NOTIFIER.get().load(Ordering::Acquire) != 0
}

/// This process is the bookkeeper from now on; false where there is one.
pub(crate) fn become_bookkeeper() -> bool {
    latch::claim(BOOKKEEPER.get())
}

/// Whether there is a bookkeeper.
pub(crate) fn has_bookkeeper() -> bool {
    BOOKKEEPER.get().load(Ordering::Acquire) != 0
}

/// This process is the maintenance from now on; false where there is one.
pub(crate) fn become_maintenance() -> bool {
    latch::claim(MAINTENANCE.get())
}

/// Whether there is a maintenance.
pub(crate) fn has_maintenance() -> bool {
    MAINTENANCE.get().load(Ordering::Acquire) != 0
}

/// How many transactions have erased ciphertext since the server's start.
pub(crate) fn erasures() -> usize {
    ERASURES.get().load(Ordering::Acquire)
}

/// How often somebody has asked for the workers since the server's start.
pub(crate) fn launches() -> usize {
    LAUNCHES.get().load(Ordering::Acquire)
}

/// This process is the launcher from now on.
pub(crate) fn become_launcher() {
    LAUNCHER.get().store(latch::own(), Ordering::Release);
}
