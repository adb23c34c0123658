//! Latches: how processes of the server wake each other.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The address of this process's latch in shared memory, which is the same in every process of the
/// server.
pub(crate) fn own() -> usize {
    // SAFETY: set for every process that has access to shared memory.
    unsafe { pg_sys::MyLatch as usize }
}

/// Wakes the process whose latch `place` holds; nobody where that is 0.
pub(crate) fn set(place: &AtomicUsize) {
    let address = place.load(Ordering::Acquire);
    if address != 0 {
        // SAFETY: the address of a process's latch among those that the server holds in shared
        // memory for its whole life. If its process has ended meanwhile, the next one to use it is
        // woken for nothing, which every user of a latch has to expect.
        unsafe { pg_sys::SetLatch(address as *mut pg_sys::Latch) };
    }
}

/// Waits to be woken, at most for `most`; whether it was woken. A cancelled statement or a stopping
/// server ends it by an ERROR.
pub(crate) fn wait(most: Duration) -> bool {
    let events = (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as i32;
    // Rounded up: not to come back a moment too early, many times.
    let milliseconds = i64::try_from(most.as_millis())
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    // SAFETY: this process's own latch.
    let happened = unsafe {
        let happened = pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events,
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
        pg_sys::check_for_interrupts!();
        happened
    };
    happened & (pg_sys::WL_LATCH_SET as i32) != 0
}

/// Sleeps for a time, whoever wakes this process meanwhile.
pub(crate) fn wait_out(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        wait(left);
    }
}

/// Makes this process the one that `place` names by its latch, until it ends; false where another
/// process is that already.
pub(crate) fn claim(place: &'static AtomicUsize) -> bool {
    let claimed = place.compare_exchange(0, own(), Ordering::AcqRel, Ordering::Acquire);
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
    let _ = place.compare_exchange(own(), 0, Ordering::AcqRel, Ordering::Acquire);
}
