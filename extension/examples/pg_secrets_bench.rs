//! What `make bench` loads into a server: sealing and opening as the extension does them, with its
//! keyring, its session keys, its allocator and its buffers, but without permission check and audit. It is never
//! installed; dev/bench/openpgp.sql declares these functions.
#![allow(unsafe_code)]

#[path = "../src/erasing_allocator.rs"]
mod erasing_allocator;
#[path = "../src/read_buffers.rs"]
mod read_buffers;

use erasing_allocator::ErasingAllocator;
use pg_secrets_openpgp::{Keyring, Place, SessionKeys};
use pgrx::pg_extern;
use std::cell::RefCell;
use std::error::Error;
use std::mem;
use uuid::Uuid;

pgrx::pg_module_magic!();

// Erasing takes time, and the figures are to hold it.
#[global_allocator]
static ALLOCATOR: ErasingAllocator = ErasingAllocator;

/// The longest value, that of pg_secrets.max_value_size.
const LIMIT: usize = 64 << 10;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Loaded {
    keyring: Keyring,
    sessions: SessionKeys,
}

thread_local! {
    // A backend has one thread.
    static LOADED: RefCell<Option<Loaded>> = const { RefCell::new(None) };
}

fn with_loaded<T>(work: impl FnOnce(&mut Loaded) -> Outcome<T>) -> Outcome<T> {
    LOADED.with_borrow_mut(|loaded| work(loaded.as_mut().ok_or("bench_load was not called")?))
}

fn place(row: pgrx::Uuid) -> Place {
    Place::version(Uuid::from_bytes(*row.as_bytes()))
}

/// Parses the keys of a file in place of those before, and answers the primary one's fingerprint.
#[pg_extern(sql = false)]
fn bench_load(key_file: &str) -> Outcome<String> {
    read_buffers::shorten();
    let keyring = Keyring::parse(&std::fs::read(key_file)?, None)?;
    let fingerprint = keyring.primary_fingerprint().to_owned();
    let sessions = SessionKeys::new(SessionKeys::PER_BACKEND);
    LOADED.set(Some(Loaded { keyring, sessions }));
    Ok(fingerprint)
}

/// Seals a value for a row.
#[pg_extern(sql = false)]
fn bench_seal(row: pgrx::Uuid, value: &str) -> Outcome<Vec<u8>> {
    with_loaded(|loaded| Ok(loaded.keyring.seal(place(row), value.as_bytes())?.message))
}

/// Opens a message as if it had never been opened before.
#[pg_extern(sql = false)]
fn bench_open(row: pgrx::Uuid, message: &[u8]) -> Outcome<String> {
    with_loaded(|loaded| {
        let mut value = loaded.keyring.open(place(row), message, LIMIT)?;
        Ok(String::from_utf8(mem::take(&mut *value))?)
    })
}

/// Opens a message, and remembers its session key: the second time it costs less.
#[pg_extern(sql = false)]
fn bench_open_again(row: pgrx::Uuid, message: &[u8]) -> Outcome<String> {
    with_loaded(|loaded| {
        let Loaded { keyring, sessions } = loaded;
        let mut value = keyring.open_again(place(row), message, LIMIT, sessions)?;
        Ok(String::from_utf8(mem::take(&mut *value))?)
    })
}

/// The same for a session that begins with it: the keys of the file are parsed with the first call.
#[pg_extern(sql = false)]
fn bench_open_with(key_file: &str, row: pgrx::Uuid, message: &[u8]) -> Outcome<String> {
    if LOADED.with_borrow(Option::is_none) {
        bench_load(key_file)?;
    }
    bench_open_again(row, message)
}

/// How much time the processors have given to this backend so far, in microseconds. A machine that
/// has other things to do as well prolongs what is measured, but not this.
#[pg_extern(sql = false)]
fn bench_processor_time() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is valid; every system that Postgres runs on has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut now) };
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
