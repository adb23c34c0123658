//! Waking the workers after a commit. NOTIFY in the caller's own transaction would serialise the
//! commits of the whole server, fail them when its queue is full, and forbid PREPARE TRANSACTION;
//! setting a latch does none of that.
#![allow(unsafe_code)]

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
static LAUNCHES: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"pg_secrets launches") };

thread_local! {
    static NOTIFY_AT_COMMIT: Cell<bool> = const { Cell::new(false) };
    static LAUNCH_AT_COMMIT: Cell<bool> = const { Cell::new(false) };
}

/// Asks for the shared memory; once, while the library is preloaded.
pub(crate) fn request_shared_memory() {
    pg_shmem_init!(NOTIFIER);
    pg_shmem_init!(LAUNCHER);
    pg_shmem_init!(LAUNCHES);
}

/// After this transaction's commit the notifier tells the relays.
pub(crate) fn at_commit() {
    NOTIFY_AT_COMMIT.set(true);
}

/// After this transaction's commit the launcher looks again whether there is something to run.
pub(crate) fn launch_at_commit() {
    LAUNCH_AT_COMMIT.set(true);
}

/// Called at the end of every transaction.
pub(crate) fn at_end(committed: bool) {
    let notify = NOTIFY_AT_COMMIT.replace(false);
    let launch = LAUNCH_AT_COMMIT.replace(false);
    if committed && notify {
        set(&NOTIFIER);
    }
    if committed && launch {
        LAUNCHES.get().fetch_add(1, Ordering::AcqRel);
        set(&LAUNCHER);
    }
}

fn set(latch: &PgAtomic<AtomicUsize>) {
    let address = latch.get().load(Ordering::Acquire);
    if address != 0 {
        // SAFETY: the address of a process's latch among those that the server holds in shared
        // memory for its whole life. If its process has ended meanwhile, the next one to use it is
        // woken for nothing, which every user of a latch has to expect.
        unsafe { pg_sys::SetLatch(address as *mut pg_sys::Latch) };
    }
}

/// Makes this process the one that `place` names by its latch, until it ends; false where another
/// process is that already.
pub(crate) fn claim(place: &'static AtomicUsize) -> bool {
    let claimed = place.compare_exchange(0, own_latch(), Ordering::AcqRel, Ordering::Acquire);
    if claimed.is_ok() {
        let argument = pg_sys::Datum::from(std::ptr::from_ref(place) as usize);
        // SAFETY: a function that lives as long as the process, and a place that does so too.
        unsafe { pg_sys::before_shmem_exit(Some(give_place_back), argument) };
    }
    claimed.is_ok()
}

unsafe extern "C-unwind" fn give_place_back(_code: core::ffi::c_int, place: pg_sys::Datum) {
    // SAFETY: what `claim` registered, in shared memory that is still attached.
    let place = unsafe { &*place.cast_mut_ptr::<AtomicUsize>() };
    let _ = place.compare_exchange(own_latch(), 0, Ordering::AcqRel, Ordering::Acquire);
}

/// This process is the notifier from now on; false where there is one.
pub(crate) fn become_notifier() -> bool {
    claim(NOTIFIER.get())
}

/// Whether there is a notifier.
pub(crate) fn has_notifier() -> bool {
    NOTIFIER.get().load(Ordering::Acquire) != 0
}

/// How often somebody has asked for the workers since the server's start.
pub(crate) fn launches() -> usize {
    LAUNCHES.get().load(Ordering::Acquire)
}

/// This process is the launcher from now on.
pub(crate) fn become_launcher() {
    LAUNCHER.get().store(own_latch(), Ordering::Release);
}

fn own_latch() -> usize {
    // SAFETY: set for every process that has access to shared memory.
    unsafe { pg_sys::MyLatch as usize }
}
