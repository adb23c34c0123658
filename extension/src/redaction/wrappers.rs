//! `pg_secrets.redact_also`: what the user's own functions are called that pass values on to ours. A
//! statement that names one of them is as sensitive as one that names us.
#![allow(unsafe_code)]

use super::verdicts;
use pg_secrets_patterns::mentions;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The setting's text. Postgres keeps it until it hands over another.
static LISTED: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// The setting's assign hook.
pub(crate) unsafe extern "C-unwind" fn assign(value: *const c_char, _extra: *mut c_void) {
    LISTED.store(value.cast_mut(), Ordering::Relaxed);
    verdicts::forget();
}

/// Whether a text names one of them. Allocates nothing.
pub(super) fn named_in(text: &[u8]) -> bool {
    let listed = LISTED.load(Ordering::Relaxed);
    if listed.is_null() {
        return false;
    }
    // SAFETY: the current value of the setting, a C string.
    let listed = unsafe { CStr::from_ptr(listed) }.to_bytes();
    listed
        .split(|byte| *byte == b',')
        .any(|entry| mentions(text, name_of(entry)))
}

/// The last part of an entry such as `app.store_password`, `store_password(text)` or `"Store"`.
fn name_of(entry: &[u8]) -> &[u8] {
    let parameters = entry.iter().position(|byte| *byte == b'(');
    let entry = &entry[..parameters.unwrap_or(entry.len())];
    let last = entry.rsplit(|byte| *byte == b'.').next().unwrap_or(entry);
    let last = last.trim_ascii();
    let unquoted = last
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    unquoted.unwrap_or(last)
}
