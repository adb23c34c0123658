//! The ring: shared memory through which readers hand their records to the audit worker.
//!
//! A reader fills a slot and waits for it; the worker takes all slots that are ready, commits their
//! records in one transaction, and then lets the readers go on. No lock is held by anybody: a slot
//! belongs to whom its state says, and every change of hands is one atomic exchange. Beside the state
//! stands how often the slot was used: an exchange for an earlier use changes nothing.
//!
//! ```text
//!  free ─reader─▶ filling ─reader─▶ ready ─worker─▶ taken ─worker─▶ done, failed ─reader─▶ free
//!                                     │               │
//!                                  reader          reader      (it waits no longer)
//!                                     ▼               ▼
//!                                 abandoned ─worker─▶ left ─worker─▶ free
//! ```
#![allow(unsafe_code)]

use crate::backend::latch;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How many records can wait at once.
pub(super) const SLOTS: usize = 512;

/// The longest record, in bytes.
pub(super) const LONGEST_RECORD: usize = 8 << 10;

const FREE: u64 = 0;
const FILLING: u64 = 1;
const READY: u64 = 2;
const ABANDONED: u64 = 3;
const TAKEN: u64 = 4;
const LEFT: u64 = 5;
const DONE: u64 = 6;
const FAILED: u64 = 7;

/// What lies in shared memory. All zeros is an empty ring.
#[repr(C)]
struct Ring {
    /// The address of the worker's latch, which is the same in every process; 0 while there is none.
    worker: AtomicUsize,
    /// Up to which arrival the records are as they stay.
    settled: AtomicU64,
    /// The last arrival that names a service, and the last that was refused.
    last: [AtomicU64; 2],
    /// Where the next reader begins to look for a free slot.
    next: AtomicU32,
    /// How many records wait.
    waiting: AtomicU32,
    /// The use of the slot in the upper bits, its state in the lowest byte.
    states: [AtomicU64; SLOTS],
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

/// One use of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    slot: usize,
    number: u64,
}

fn pack(number: u64, state: u64) -> u64 {
    number << 8 | state
}

fn unpack(packed: u64) -> (u64, u64) {
    (packed >> 8, packed & 0xff)
}

impl Use {
    /// Moves this use of its slot from one state to another; false where it is in neither.
    fn change(self, ring: &Ring, from: u64, to: u64) -> bool {
        let (from, to) = (pack(self.number, from), pack(self.number, to));
        ring.states[self.slot]
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Its state; `None` once it is over.
    fn state(self, ring: &Ring) -> Option<u64> {
        let (number, state) = unpack(ring.states[self.slot].load(Ordering::Acquire));
        (number == self.number && state != FREE).then_some(state)
    }

    /// Begins the next use of a slot, if it is free.
    fn begin(ring: &Ring, slot: usize) -> Option<Self> {
        let packed = ring.states[slot].load(Ordering::Acquire);
        let (number, state) = unpack(packed);
        let next = Self {
            slot,
            number: number + 1,
        };
        let filling = pack(next.number, FILLING);
        let begun = state == FREE
            && ring.states[slot]
                .compare_exchange(packed, filling, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        begun.then_some(next)
    }

    /// What the slot is used for now.
    fn current(ring: &Ring, slot: usize) -> (Self, u64) {
        let (number, state) = unpack(ring.states[slot].load(Ordering::Acquire));
        (Self { slot, number }, state)
    }
}

thread_local! {
    // What this process has in the ring, for when it ends in the middle of a wait: a process that is
    // terminated drops nothing.
    static OWN: RefCell<Vec<Use>> = const { RefCell::new(Vec::new()) };
    static ENDS_TIDILY: Cell<bool> = const { Cell::new(false) };
    // What is to be recorded if the process ends in the middle of a wait.
    static LAST_WORD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

fn remember(ring: &Ring, own_use: Use) {
    ring.waiting.fetch_add(1, Ordering::Relaxed);
    OWN.with_borrow_mut(|own| own.push(own_use));
    if !ENDS_TIDILY.replace(true) {
        // SAFETY: a function that lives as long as the process.
        unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0)) };
    }
}

unsafe extern "C-unwind" fn at_exit(_code: core::ffi::c_int, _argument: pg_sys::Datum) {
    for own_use in OWN.take() {
        give_up(own_use);
    }
    if let Some(record) = LAST_WORD.take() {
        leave(&record);
    }
}

/// Says what is to be recorded if this process ends before it says something else.
pub(super) fn set_last_word(record: Option<Vec<u8>>) {
    LAST_WORD.set(record);
}

/// Leaves a record to the worker; where there is no room for it, it is lost.
pub(super) fn leave(record: &[u8]) {
    drop(Ticket::submit(record));
    wake_worker();
}

/// Leaves a slot to the worker, or gives it back where that is done with it; whether its record was written
/// as if its reader had heard of it.
fn give_up(own_use: Use) -> bool {
    let Some(ring) = ring() else {
        return false;
    };
    ring.waiting.fetch_sub(1, Ordering::Relaxed);
    while let Some(state) = own_use.state(ring) {
        let given_up = match state {
            READY => own_use.change(ring, READY, ABANDONED),
            TAKEN => own_use.change(ring, TAKEN, LEFT),
            FILLING | DONE | FAILED => own_use.change(ring, state, FREE),
            // Given up already.
            _ => true,
        };
        if given_up {
            return state == DONE;
        }
    }
    false
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
pub(super) struct Ticket(Use);

impl Ticket {
    /// Puts a record into the ring; `None` where no slot is free.
    pub(super) fn submit(record: &[u8]) -> Option<Self> {
        let ring = ring()?;
        if record.len() > LONGEST_RECORD {
            return None;
        }
        let begin = ring.next.fetch_add(1, Ordering::Relaxed) as usize;
        let own_use = (0..SLOTS).find_map(|step| Use::begin(ring, (begin + step) % SLOTS))?;
        remember(ring, own_use);
        let slot = own_use.slot;
        // SAFETY: the slot is this process's until its state says otherwise.
        unsafe {
            let room = ring.records[slot].get().cast::<u8>();
            std::ptr::copy_nonoverlapping(record.as_ptr(), room, record.len());
        }
        let length = u32::try_from(record.len()).unwrap_or(0);
        ring.lengths[slot].store(length, Ordering::Relaxed);
        ring.readers[slot].store(latch::own(), Ordering::Relaxed);
        own_use
            .change(ring, FILLING, READY)
            .then_some(Self(own_use))
    }

    /// How it stands.
    pub(super) fn outcome(&self) -> Outcome {
        match ring().and_then(|ring| self.0.state(ring)) {
            Some(DONE) => Outcome::Done,
            Some(FAILED) | None => Outcome::Failed,
            Some(_) => Outcome::Waiting,
        }
    }
}

impl Ticket {
    /// Waits no longer; whether the record was written as if it had.
    pub(super) fn give_up(self) -> bool {
        self.end()
    }

    fn end(&self) -> bool {
        let own = OWN.with_borrow_mut(|own| {
            let position = own.iter().position(|other| *other == self.0);
            position.map(|position| own.swap_remove(position))
        });
        own.is_some_and(give_up)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether nobody but this process waits, by what it has in the ring itself.
pub(super) fn waits_alone() -> bool {
    let own = OWN.with_borrow(Vec::len);
    ring().is_some_and(|ring| ring.waiting.load(Ordering::Relaxed) as usize <= own)
}

/// How often a record was handed in since the server's start, more or less: whoever has seen a number
/// knows by another one that there is something new.
pub(super) fn submissions() -> u32 {
    ring().map_or(0, |ring| ring.next.load(Ordering::Acquire))
}

/// Tells that the records up to this arrival are as they stay.
pub(super) fn settle(arrival: i64) {
    if let Some(ring) = ring() {
        let arrival = u64::try_from(arrival).unwrap_or(0);
        ring.settled.store(arrival, Ordering::Release);
    }
}

/// Up to which arrival the records are as they stay; 0 before the worker knows.
pub(crate) fn settled() -> i64 {
    let settled = ring().map_or(0, |ring| ring.settled.load(Ordering::Acquire));
    i64::try_from(settled).unwrap_or(i64::MAX)
}

/// Of what it is known when it was last in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// A service that reads.
    Service = 0,
    /// A refusal.
    Denial = 1,
}

/// Notes the arrival of a record that has it; before it is settled.
pub(super) fn note(seen: Seen, arrival: i64) {
    if let Some(ring) = ring() {
        let arrival = u64::try_from(arrival).unwrap_or(0);
        ring.last[seen as usize].store(arrival, Ordering::Release);
    }
}

/// Whether a record behind `from` may have it: where not, nobody needs to look.
pub(super) fn may_have(seen: Seen, from: i64) -> bool {
    let last = ring().map_or(u64::MAX, |ring| {
        ring.last[seen as usize].load(Ordering::Acquire)
    });
    last > u64::try_from(from).unwrap_or(0)
}

/// Wakes the worker, if there is one.
pub(super) fn wake_worker() {
    if let Some(ring) = ring() {
        latch::set(&ring.worker);
    }
}

/// Whether there is a worker.
pub(crate) fn has_worker() -> bool {
    ring().is_some_and(|ring| ring.worker.load(Ordering::Acquire) != 0)
}

/// A record that the worker has taken.
pub(super) struct Taken {
    taken: Use,
    pub(super) record: Vec<u8>,
    /// Its reader has given up before anything was committed.
    pub(super) abandoned: bool,
}

/// This process is the audit worker from now on, unless there is one: then `None`. What its predecessor
/// had taken and not brought to an end is given: nobody knows whether it was committed, and it has to
/// fail.
pub(super) fn become_worker() -> Option<Vec<Taken>> {
    let ring = ring()?;
    if !latch::claim(&ring.worker) {
        return None;
    }
    let left = (0..SLOTS).filter_map(|slot| {
        let (found, state) = Use::current(ring, slot);
        matches!(state, TAKEN | LEFT).then(|| Taken::of(ring, found, true))
    });
    Some(left.collect())
}

/// Takes every record that waits.
pub(super) fn take() -> Vec<Taken> {
    let Some(ring) = ring() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for slot in 0..SLOTS {
        let (taken, state) = Use::current(ring, slot);
        let abandoned = match state {
            READY if taken.change(ring, READY, TAKEN) => false,
            // Also where its reader has given up a moment ago.
            READY | ABANDONED if taken.change(ring, ABANDONED, LEFT) => true,
            _ => continue,
        };
        all.push(Taken::of(ring, taken, abandoned));
    }
    all
}

impl Taken {
    /// A record that is the worker's now.
    fn of(ring: &Ring, taken: Use, abandoned: bool) -> Self {
        let length = ring.lengths[taken.slot].load(Ordering::Relaxed) as usize;
        // SAFETY: nobody writes to the slot before the worker gives it back.
        let record = unsafe {
            let room = ring.records[taken.slot].get().cast::<u8>();
            std::slice::from_raw_parts(room, length.min(LONGEST_RECORD)).to_vec()
        };
        Self {
            taken,
            record,
            abandoned,
        }
    }

    /// Lets the reader go on, or fail; whether it had given up in the meantime.
    pub(super) fn finish(&self, durable: bool) -> bool {
        let Some(ring) = ring() else {
            return false;
        };
        let ended = if durable { DONE } else { FAILED };
        if self.taken.change(ring, TAKEN, ended) {
            latch::set(&ring.readers[self.taken.slot]);
            return false;
        }
        self.taken.change(ring, LEFT, FREE)
    }
}
