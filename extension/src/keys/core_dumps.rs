//! Keeping the memory of backends, in which the keys lie, from core dumps and from other processes of
//! the same user.
//!
//! Not the postmaster's own: a process that is not dumpable has a /proc of root's, and its children
//! could no longer lower the protection from the out-of-memory killer that they inherit from it
//! (PG_OOM_ADJUST_FILE in the manual, "Linux Memory Overcommit").
#![allow(unsafe_code)]

use pgrx::pg_sys;
use std::ffi::c_int;
use std::sync::OnceLock;

type AuthenticationHook =
    Option<unsafe extern "C-unwind" fn(port: *mut pg_sys::Port, status: c_int)>;

unsafe extern "C-unwind" {
    #[link_name = "ClientAuthentication_hook"]
    static mut CLIENT_AUTHENTICATION_HOOK: AuthenticationHook;
}

static PREVIOUS: OnceLock<AuthenticationHook> = OnceLock::new();

/// Installs the hook that every client's backend passes as it starts; once, while the library is
/// preloaded.
pub(crate) fn install() {
    // SAFETY: the postmaster has one thread while it loads libraries.
    unsafe {
        PREVIOUS.get_or_init(|| CLIENT_AUTHENTICATION_HOOK);
        CLIENT_AUTHENTICATION_HOOK = Some(at_authentication);
    }
}

unsafe extern "C-unwind" fn at_authentication(port: *mut pg_sys::Port, status: c_int) {
    refuse();
    if let Some(Some(previous)) = PREVIOUS.get() {
        // SAFETY: the hook that was there before ours, with what Postgres passed. Nothing in this
        // frame needs to be dropped if it raises.
        unsafe { previous(port, status) };
    }
}

/// Makes this process refuse dumps (prctl(2), PR_SET_DUMPABLE).
pub(crate) fn refuse() {
    // SAFETY: sets an attribute of the process; a failure leaves it as it was.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}
