//! The ring: shared memory through which readers hand their records to the audit worker.
//!
//! A reader fills a slot and waits for it; the worker takes all slots that are ready, commits their
//! records in one transaction, and then lets the readers go on. No lock is held by anybody: a slot
//! belongs to whom its state says, and every change of hands is one atomic exchange.
//!
//! ```text
//!  free ─reader─▶ filling ─reader─▶ ready ─worker─▶ taken ─worker─▶ done, failed ─reader─▶ free
//!                                     │               │
//!                                  reader          reader      (it waits no longer)
//!                                     ▼               ▼
//!                                 abandoned ─worker─▶ left ─worker─▶ free
//! ```
#![allow(unsafe_code)]

use pgrx::pg_sys;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// How many records can wait at once.
pub(super) const SLOTS: usize = 512;

/// The longest record, in bytes.
pub(super) const LONGEST_RECORD: usize = 8 << 10;

const FREE: u32 = 0;
const FILLING: u32 = 1;
const READY: u32 = 2;
const ABANDONED: u32 = 3;
const TAKEN: u32 = 4;
const LEFT: u32 = 5;
const DONE: u32 = 6;
const FAILED: u32 = 7;

/// What lies in shared memory. All zeros is an empty ring.
#[repr(C)]
struct Ring {
    /// The address of the worker's latch, which is the same in every process; 0 while there is none.
    worker: AtomicUsize,
    /// Where the next reader begins to look for a free slot.
    next: AtomicU32,
    states: [AtomicU32; SLOTS],
    lengths: [AtomicU32; SLOTS],
    /// The addresses of the readers' latches.
    readers: [AtomicUsize; SLOTS],
    records: [UnsafeCell<[u8; LONGEST_RECORD]>; SLOTS],
}

static RING: AtomicPtr<Ring> = AtomicPtr::new(null_mut());
static PREVIOUS_REQUEST: OnceLock<pg_sys::shmem_request_hook_type> = OnceLock::new();
static PREVIOUS_STARTUP: OnceLock<pg_sys::shmem_startup_hook_type> = OnceLock::new();

/// Asks for the shared memory; once, while the library is preloaded.
pub(crate) fn request_shared_memory() {
    // SAFETY: the postmaster has one thread while it loads libraries.
    unsafe {
        PREVIOUS_REQUEST.get_or_init(|| pg_sys::shmem_request_hook);
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP.get_or_init(|| pg_sys::shmem_startup_hook);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

unsafe extern "C-unwind" fn request() {
    // SAFETY: the hook that was there before ours, and the one place where memory may be asked for.
    unsafe {
        if let Some(Some(previous)) = PREVIOUS_REQUEST.get() {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(size_of::<Ring>());
    }
}

/// Runs in the postmaster, at its start and again after a crash of one of its children: the memory is
/// a new one then, and whoever waited is gone.
unsafe extern "C-unwind" fn startup() {
    // SAFETY: as above; the memory has the size that was asked for, is aligned for anything, and
    // nobody else knows of it yet.
    unsafe {
        if let Some(Some(previous)) = PREVIOUS_STARTUP.get() {
            previous();
        }
        let mut found = false;
        let name = c"pg_secrets audit ring".as_ptr();
        let ring = pg_sys::ShmemInitStruct(name, size_of::<Ring>(), &raw mut found);
        if !found {
            std::ptr::write_bytes(ring.cast::<u8>(), 0, size_of::<Ring>());
        }
        RING.store(ring.cast(), Ordering::Release);
    }
}

fn ring() -> Option<&'static Ring> {
    // SAFETY: shared memory of the server, which lives as long as any of its processes; every part
    // of it is atomic, or belongs to whom its slot's state says.
    unsafe { RING.load(Ordering::Acquire).as_ref() }
}

fn change(state: &AtomicU32, from: u32, to: u32) -> bool {
    state
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

fn wake(latch: &AtomicUsize) {
    let address = latch.load(Ordering::Acquire);
    if address != 0 {
        // SAFETY: the address of a process's latch among those that the server holds in shared
        // memory for its whole life; whoever uses it by now expects to be woken for nothing.
        unsafe { pg_sys::SetLatch(address as *mut pg_sys::Latch) };
    }
}

fn own_latch() -> usize {
    // SAFETY: set for every process that has access to shared memory.
    unsafe { pg_sys::MyLatch as usize }
}

thread_local! {
    // What this process has in the ring, for when it ends in the middle of a wait: a process that is
    // terminated drops nothing.
    static OWN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static ENDS_TIDILY: Cell<bool> = const { Cell::new(false) };
}

fn remember(slot: usize) {
    OWN.with_borrow_mut(|own| own.push(slot));
    if !ENDS_TIDILY.replace(true) {
        // SAFETY: a function that lives as long as the process.
        unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0)) };
    }
}

unsafe extern "C-unwind" fn at_exit(_code: core::ffi::c_int, _argument: pg_sys::Datum) {
    for slot in OWN.take() {
        give_up(slot);
    }
}

/// Leaves a slot to the worker, or gives it back where that is done with it.
fn give_up(slot: usize) {
    let Some(state) = ring().map(|ring| &ring.states[slot]) else {
        return;
    };
    loop {
        let given_up = match state.load(Ordering::Acquire) {
            READY => change(state, READY, ABANDONED),
            TAKEN => change(state, TAKEN, LEFT),
            ended => change(state, ended, FREE),
        };
        if given_up {
            return;
        }
    }
}

/// How a wait stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Waiting,
    /// The record is durable.
    Done,
    /// It could not be made so.
    Failed,
}

/// A record on its way. Given up when it is dropped before its end: the worker then records that
/// nothing was released.
pub(super) struct Ticket(usize);

impl Ticket {
    /// Puts a record into the ring; `None` where no slot is free.
    pub(super) fn submit(record: &[u8]) -> Option<Self> {
        let ring = ring()?;
        if record.len() > LONGEST_RECORD {
            return None;
        }
        let begin = ring.next.fetch_add(1, Ordering::Relaxed) as usize;
        let slot = (0..SLOTS)
            .map(|step| (begin + step) % SLOTS)
            .find(|slot| change(&ring.states[*slot], FREE, FILLING))?;
        remember(slot);
        // SAFETY: the slot is this process's until its state says otherwise.
        unsafe {
            let room = ring.records[slot].get().cast::<u8>();
            std::ptr::copy_nonoverlapping(record.as_ptr(), room, record.len());
        }
        let length = u32::try_from(record.len()).unwrap_or(0);
        ring.lengths[slot].store(length, Ordering::Relaxed);
        ring.readers[slot].store(own_latch(), Ordering::Relaxed);
        ring.states[slot].store(READY, Ordering::Release);
        Some(Self(slot))
    }

    /// How it stands.
    pub(super) fn outcome(&self) -> Outcome {
        match ring().map(|ring| ring.states[self.0].load(Ordering::Acquire)) {
            Some(DONE) => Outcome::Done,
            Some(FAILED) | None => Outcome::Failed,
            Some(_) => Outcome::Waiting,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        give_up(self.0);
        OWN.with_borrow_mut(|own| own.retain(|slot| *slot != self.0));
    }
}

/// Wakes the worker, if there is one.
pub(super) fn wake_worker() {
    if let Some(ring) = ring() {
        wake(&ring.worker);
    }
}

/// A record that the worker has taken.
pub(super) struct Taken {
    slot: usize,
    pub(super) record: Vec<u8>,
    /// Its reader has given up before anything was committed.
    pub(super) abandoned: bool,
}

/// This process is the audit worker from now on. What its predecessor had taken and not brought to an
/// end has failed: nobody knows whether it was committed.
pub(super) fn become_worker() {
    let Some(ring) = ring() else {
        return;
    };
    ring.worker.store(own_latch(), Ordering::Release);
    for (slot, state) in ring.states.iter().enumerate() {
        if change(state, TAKEN, FAILED) {
            wake(&ring.readers[slot]);
        }
        change(state, LEFT, FREE);
    }
}

/// Takes every record that waits.
pub(super) fn take() -> Vec<Taken> {
    let Some(ring) = ring() else {
        return Vec::new();
    };
    let mut taken = Vec::new();
    for (slot, state) in ring.states.iter().enumerate() {
        let abandoned = match state.load(Ordering::Acquire) {
            READY if change(state, READY, TAKEN) => false,
            // Also where its reader has given up a moment ago.
            READY | ABANDONED if change(state, ABANDONED, LEFT) => true,
            _ => continue,
        };
        let length = ring.lengths[slot].load(Ordering::Relaxed) as usize;
        // SAFETY: nobody writes to the slot before the worker gives it back.
        let record = unsafe {
            let room = ring.records[slot].get().cast::<u8>();
            std::slice::from_raw_parts(room, length.min(LONGEST_RECORD)).to_vec()
        };
        taken.push(Taken {
            slot,
            record,
            abandoned,
        });
    }
    taken
}

impl Taken {
    /// Lets the reader go on, or fail; whether it had given up in the meantime.
    pub(super) fn finish(&self, durable: bool) -> bool {
        let Some(ring) = ring() else {
            return false;
        };
        let state = &ring.states[self.slot];
        let ended = if durable { DONE } else { FAILED };
        if change(state, TAKEN, ended) {
            wake(&ring.readers[self.slot]);
            return false;
        }
        state.store(FREE, Ordering::Release);
        true
    }
}
