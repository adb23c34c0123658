//! The last look at every record before it goes to the server's log.
//!
//! A record that arose under a sensitive statement, or quotes one, is written as its format string,
//! without the statement and without anything that may quote it, unless the error is one of ours: those
//! hold no value by construction. The client is sent the same masked record. The hook allocates little,
//! raises nothing and takes no lock, since it runs in the postmaster too.
#![allow(unsafe_code)]

use super::{activity, sensitive};
use crate::backend::raise::ORIGIN;
use pg_secrets_patterns::mask_known;
use pgrx::{PgLogLevel, pg_sys};
use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::sync::OnceLock;
use zeroize::Zeroize;

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

/// What stands in the place of a message that a function put together by itself, as by RAISE.
const OWN_ERROR: &CStr = c"an error whose own words are masked, since they may quote a value";
const OWN_MESSAGE: &CStr = c"a message whose own words are masked, since they may quote a value";

/// Which function of Postgres's logs parse trees and plans.
const PRINTS_TREES: &CStr = c"elog_node_display";

/// Why a client does not see all of Postgres's own words.
const HINT: &CStr = c"What may quote a value is masked in this message; the SQLSTATE says what failed, and the fields for table, column and constraint where. Misspelt names, wrong types and missing grants look like this: control_plane.grant_project() gives a role what it needs.";

/// # Safety
/// The record's texts are C strings or NULL.
unsafe fn redact(record: &mut pg_sys::ErrorData) {
    // SAFETY: the caller's promise, and C strings or NULL that the server keeps.
    unsafe {
        let texts = [
            record.message.cast_const(),
            record.detail.cast_const(),
            record.detail_log.cast_const(),
            record.context.cast_const(),
            record.internalquery.cast_const(),
        ];
        let sensitive =
            sensitive::is_statement_sensitive() || texts.into_iter().any(|text| is_sensitive(text));
        if !sensitive {
            return;
        }
        let is_postmaster = pg_sys::MyProcPid == pg_sys::PostmasterPid;
        let is_error = record.elevel >= PgLogLevel::ERROR as i32;
        if is_error && !is_postmaster {
            activity::hide();
        }
        record.hide_stmt = true;
        if is(record.filename, ORIGIN) {
            // A name that somebody gave to something may be a token by mistake.
            for text in [record.message, record.detail, record.hint] {
                mask_tokens(text);
            }
            // Postgres's own words, as the parameters of a portal with log_parameter_max_length_on_error.
            // The server hides them in its own log (errhidecontext); a hook of others would see them.
            record.context = null_mut();
            record.internalquery = null_mut();
            record.internalpos = 0;
            return;
        }
        // debug_print_parse and its like show values as numbers.
        if is(record.funcname, PRINTS_TREES) {
            record.output_to_server = false;
            record.output_to_client = false;
            return;
        }
        // The postmaster tells of a process that crashed: which, and by what signal, is its message;
        // the statement that it ran is the detail.
        if !is_postmaster {
            let format = if record.message_id.is_null() {
                c"%s"
            } else {
                CStr::from_ptr(record.message_id)
            };
            let own = match (format == c"%s", is_error) {
                (true, true) => Some(OWN_ERROR),
                (true, false) => Some(OWN_MESSAGE),
                (false, _) => None,
            };
            let quotes = format.to_bytes().contains(&b'%');
            record.message = replace(record.message, own.unwrap_or(format));
            tell_cause(record);
            record.hint = if is_error && quotes {
                copy(HINT)
            } else {
                null_mut()
            };
        }
        record.detail = null_mut();
        record.detail_log = null_mut();
        record.context = null_mut();
        record.internalquery = null_mut();
        record.internalpos = 0;
    }
}

/// # Safety
/// `text` is a C string or NULL.
unsafe fn is_sensitive(text: *const c_char) -> bool {
    // SAFETY: the caller's promise.
    !text.is_null() && sensitive::is_text_sensitive(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// # Safety
/// `text` is a C string or NULL.
unsafe fn is(text: *const c_char, what: &CStr) -> bool {
    // SAFETY: the caller's promise.
    !text.is_null() && unsafe { CStr::from_ptr(text) } == what
}

/// # Safety
/// `text` is a C string that may be written to, or NULL.
unsafe fn mask_tokens(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: within the string's own length.
        unsafe {
            let length = CStr::from_ptr(text).to_bytes().len();
            mask_known(std::slice::from_raw_parts_mut(text.cast::<u8>(), length));
        }
    }
}

/// Erases `text`, and gives what is to stand for it: a copy of `with`, or where no memory is left
/// the beginning of it in the old place.
///
/// # Safety
/// `text` is a C string that may be written to, or NULL.
unsafe fn replace(text: *mut c_char, with: &CStr) -> *mut c_char {
    if text.is_null() {
        return text;
    }
    // SAFETY: within the string's own length.
    unsafe {
        let length = CStr::from_ptr(text).to_bytes().len();
        let room = std::slice::from_raw_parts_mut(text.cast::<u8>(), length);
        room.zeroize();
        let other = copy(with);
        if !other.is_null() {
            return other;
        }
        let kept = with.to_bytes().len().min(length);
        room[..kept].copy_from_slice(&with.to_bytes()[..kept]);
        text
    }
}

/// Puts the system's words in the place of `%m`: they name the cause, and hold no value.
///
/// # Safety
/// The record's message is a C string or NULL.
unsafe fn tell_cause(record: &mut pg_sys::ErrorData) {
    // SAFETY: the caller's promise; the system's words are a C string, and the room is for all of it.
    unsafe {
        if record.message.is_null() {
            return;
        }
        let text = CStr::from_ptr(record.message).to_bytes();
        let Some(at) = text.windows(2).position(|piece| piece == b"%m") else {
            return;
        };
        let cause = CStr::from_ptr(libc::strerror(record.saved_errno)).to_bytes();
        let length = text.len() - 2 + cause.len();
        let room = allocate(length + 1).cast::<u8>();
        if room.is_null() {
            return;
        }
        let whole = std::slice::from_raw_parts_mut(room, length + 1);
        whole[..at].copy_from_slice(&text[..at]);
        whole[at..at + cause.len()].copy_from_slice(cause);
        whole[at + cause.len()..length].copy_from_slice(&text[at + 2..]);
        whole[length] = 0;
        record.message = room.cast();
    }
}

/// A copy in the record's own memory context, which is the current one; NULL where no memory is left.
///
/// # Safety
/// In a process of the server.
unsafe fn copy(text: &CStr) -> *mut c_char {
    let bytes = text.to_bytes_with_nul();
    // SAFETY: written within its size.
    unsafe {
        let room = allocate(bytes.len());
        if !room.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.cast::<u8>(), bytes.len());
        }
        room
    }
}

/// Room in the record's own memory context, which is the current one; NULL where no memory is left.
///
/// # Safety
/// In a process of the server.
unsafe fn allocate(size: usize) -> *mut c_char {
    let flags = pg_sys::MCXT_ALLOC_NO_OOM as i32;
    // SAFETY: an allocation that does not raise.
    unsafe { pg_sys::MemoryContextAllocExtended(pg_sys::CurrentMemoryContext, size, flags).cast() }
}
