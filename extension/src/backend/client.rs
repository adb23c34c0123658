//! Where the session's client is, and what it calls itself.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use std::ffi::CStr;
use std::net::IpAddr;

/// The client's address; `None` over a socket of the machine's own, and for a background worker.
pub(crate) fn address() -> Option<IpAddr> {
    // SAFETY: reads the process's own state, and takes no argument.
    let address: Option<pgrx::Inet> =
        unsafe { pgrx::direct_function_call(pg_sys::inet_client_addr, &[]) };
    // An address of version 6 may name its interface behind it.
    address?.0.split(['/', '%']).next()?.parse().ok()
}

/// What the client says of itself by application_name.
pub(crate) fn application_name() -> Option<String> {
    // SAFETY: NULL or a C string that the setting keeps; the copy is made at once.
    unsafe {
        let name = pg_sys::application_name;
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}
