//! The last look at every record before it goes to the server's log.
//!
//! A record that arose under a sensitive statement is written as its format string, without the
//! statement and without anything that may quote it, unless the error is one of ours: those hold no
//! value by construction. The client is sent the same masked record. The hook allocates nothing and
//! takes no lock, since it runs in the postmaster too.
#![allow(unsafe_code)]

use crate::backend::raise::ORIGIN;
use pg_secrets_patterns::is_sensitive_statement;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// Installs the hook; once, while the library is preloaded.
pub(crate) fn install() {
    // SAFETY: the postmaster has one thread while it loads libraries.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(before_log);
    }
}

unsafe extern "C-unwind" fn before_log(record: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres passes the record that it is about to write; it and the statement's text
    // are C strings or NULL. Nothing in here raises.
    unsafe {
        if let Some(record) = record.as_mut() {
            redact(record);
        }
        if let Some(Some(previous)) = PREVIOUS.get() {
            previous(record);
        }
    }
}

/// # Safety
/// The record's texts are C strings or NULL.
unsafe fn redact(record: &mut pg_sys::ErrorData) {
    // SAFETY: the caller's promise, and a C string or NULL that the server keeps.
    unsafe {
        let texts = [
            pg_sys::debug_query_string,
            record.message.cast_const(),
            record.detail.cast_const(),
            record.detail_log.cast_const(),
            record.context.cast_const(),
            record.internalquery.cast_const(),
        ];
        if !texts.into_iter().any(|text| is_sensitive(text)) {
            return;
        }
        record.hide_stmt = true;
        let own = !record.filename.is_null() && CStr::from_ptr(record.filename) == ORIGIN;
        if own {
            return;
        }
        if !record.message_id.is_null() {
            // The format string is a constant of the server's code. Postgres frees the message
            // after use, so it must be one of its own allocations: the text is overwritten in
            // place where it is long enough, and cut where not.
            overwrite(record.message, CStr::from_ptr(record.message_id));
        }
        record.detail = null_mut();
        record.detail_log = null_mut();
        record.hint = null_mut();
        record.context = null_mut();
        record.internalquery = null_mut();
        record.internalpos = 0;
    }
}

/// # Safety
/// `text` is a C string or NULL.
unsafe fn is_sensitive(text: *const std::ffi::c_char) -> bool {
    // SAFETY: the caller's promise.
    !text.is_null() && is_sensitive_statement(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Writes `with` over `text`, cut to its length.
///
/// # Safety
/// `text` is a C string that may be written to, or NULL.
unsafe fn overwrite(text: *mut std::ffi::c_char, with: &CStr) {
    if text.is_null() {
        return;
    }
    // SAFETY: within the string's own length.
    unsafe {
        let length = CStr::from_ptr(text).to_bytes().len();
        let room = std::slice::from_raw_parts_mut(text.cast::<u8>(), length);
        let source = with.to_bytes();
        let kept = source.len().min(length);
        room[..kept].copy_from_slice(&source[..kept]);
        room[kept..].fill(b' ');
    }
}
