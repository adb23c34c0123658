//! Notices that a function of ours is about to be called, also where no statement is analysed: by the
//! fast path of the protocol, from a cached plan, in an expression of PL/pgSQL.
#![allow(unsafe_code)]

use super::{calls, sensitive};
use pgrx::pg_sys;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::object_access_hook_type> = OnceLock::new();

/// Installs the hook; once, while the library is preloaded.
pub(crate) fn install() {
    // SAFETY: the postmaster has one thread while it loads libraries.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(at_access);
    }
}

unsafe extern "C-unwind" fn at_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: c_int,
    argument: *mut c_void,
) {
    // SAFETY: Postgres's arguments, handed on as they are; an error passes through a frame that holds
    // nothing to be dropped (mod.rs says why without a guard).
    unsafe {
        if access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE && calls::is_ours(object) {
            sensitive::mark();
        }
        if let Some(Some(previous)) = PREVIOUS.get() {
            previous(access, class, object, part, argument);
        }
    }
}
