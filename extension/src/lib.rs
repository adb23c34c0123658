//! pg_secrets: versioned, rotating, OpenPGP-encrypted secrets inside Postgres.
//!
//! docs/architecture.md follows a read, a rotation and a webhook through these modules.

mod access;
mod audit;
mod backend;
mod entry_points;
mod erasing_allocator;
mod error;
mod gucs;
mod id;
mod install;
mod keys;
mod lifecycle;
mod maintenance;
mod outbox;
mod preload;
mod read_buffers;
mod redaction;
mod workers;

use erasing_allocator::ErasingAllocator;
use pgrx::pg_guard;

pgrx::pg_module_magic!();

#[global_allocator]
static ALLOCATOR: ErasingAllocator = ErasingAllocator;

/// What Postgres calls when it loads the library. Without preload nothing is set up, and every
/// function says so; a mere LOAD, as pg_upgrade does, stays harmless.
#[pg_guard]
#[allow(unsafe_code)]
pub extern "C-unwind" fn _PG_init() {
    if !preload::in_progress() {
        return;
    }
    read_buffers::shorten();
    // Before the settings: pg_secrets.key_file may need the passphrase of the environment.
    keys::keyring::load_environment();
    gucs::register();
    preload::warn_if_not_last();
    workers::wake::request_shared_memory();
    audit::ring::request_shared_memory();
    access::rejected_tokens::request_shared_memory();
    access::token_uses::request_shared_memory();
    redaction::install();
    access::strong_locks::install();
    backend::transaction::register_callback();
    keys::core_dumps::install();
    if let Some(reason) = keys::keyring::why_none() {
        pgrx::warning!("pg_secrets has no key, and will store and read nothing: {reason}");
    }
    if !preload::in_pg_upgrade() {
        workers::launcher::register();
    }
    preload::mark();
}
