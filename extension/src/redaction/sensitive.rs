//! Whether what this process does just now may hold a value.
//!
//! A statement is sensitive by its text, by that of a prepared statement that it executes, or because
//! something found out while it ran (`mark`). Marks belong to a message of the client, told by the time at
//! which it came.
#![allow(unsafe_code)]

use super::{activity, masked, remembered, wrappers};
use pg_secrets_patterns::{PreparedNames, is_sensitive_statement};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char};

unsafe extern "C-unwind" {
    // Neither raises; unguarded, since the log hook asks often and in any state.
    #[link_name = "GetCurrentStatementStartTimestamp"]
    fn statement_start() -> pg_sys::TimestampTz;
    #[link_name = "FetchPreparedStatement"]
    fn prepared(name: *const c_char, raise: bool) -> *mut pg_sys::PreparedStatement;
}

#[derive(Clone, Copy)]
struct Verdict {
    message: pg_sys::TimestampTz,
    text: *const c_char,
    sensitive: bool,
}

thread_local! {
    /// The message during which the end of a sensitive statement is logged.
    static ENDING: Cell<pg_sys::TimestampTz> = const { Cell::new(0) };
    static MARKED: Cell<pg_sys::TimestampTz> = const { Cell::new(0) };
    static VERDICT: Cell<Verdict> = const {
        Cell::new(Verdict { message: 0, text: std::ptr::null(), sensitive: false })
    };
}

/// When the client's present message came; what tells it from others.
pub(super) fn message() -> pg_sys::TimestampTz {
    // SAFETY: reads the process's own state.
    unsafe { statement_start() }
}

/// From now on the client's statement is sensitive, whatever its text says, and when the same text comes
/// again it is so from the beginning. Does not raise.
pub(crate) fn mark() {
    if cfg!(feature = "unredacted") {
        return;
    }
    if !is_marked() {
        MARKED.set(message());
        // SAFETY: the client's statement, a C string or NULL.
        unsafe { remember(pg_sys::debug_query_string) };
    }
    activity::mask();
}

/// Says that a sensitive statement is ended just now, or no more: of a portal that comes with the next
/// message, when the client's statement is another or none.
pub(super) fn set_ending(ending: bool) {
    ENDING.set(if ending { message() } else { 0 });
}

fn is_marked() -> bool {
    let marked = MARKED.get();
    marked != 0 && marked == message()
}

/// Knows a text again, as it is and as it is masked, if it can hold a value at all.
///
/// # Safety
/// `text` is a C string or NULL.
pub(super) unsafe fn remember(text: *const c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: the caller's promise; the copy is as long, and given back.
    unsafe {
        let raw = CStr::from_ptr(text).to_bytes();
        let copy = masked::try_copy(text, usize::MAX, pg_sys::CurrentMemoryContext);
        if copy.is_null() {
            remembered::add(raw);
            return;
        }
        let room = std::slice::from_raw_parts_mut(copy.cast::<u8>(), raw.len());
        if masked::mask(room) {
            remembered::add(raw);
            remembered::add(room);
        }
        masked::free(copy);
    }
}

/// Whether the client's statement, or its call by the fast path, is sensitive.
pub(super) fn is_statement_sensitive() -> bool {
    let ending = ENDING.get();
    if ending != 0 && ending == message() {
        return true;
    }
    // SAFETY: the client's statement, a C string or NULL, and the process's own entry or NULL.
    unsafe {
        let text = pg_sys::debug_query_string;
        if text.is_null() {
            return is_marked() && is_fast_path();
        }
        is_marked() || is_by_verdict(text)
    }
}

/// # Safety
/// `text` is the client's statement.
unsafe fn is_by_verdict(text: *const c_char) -> bool {
    // A background worker may run several statements without saying when each begins.
    // SAFETY: reads the process's own state, and the caller's promise.
    unsafe {
        let known = VERDICT.get();
        let is_client = pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND;
        if is_client && known.message == message() && known.text == text {
            return known.sensitive;
        }
        let sensitive = is_text_sensitive(CStr::from_ptr(text).to_bytes());
        VERDICT.set(Verdict {
            message: message(),
            text,
            sensitive,
        });
        sensitive
    }
}

/// # Safety
/// In a process of the server.
unsafe fn is_fast_path() -> bool {
    // SAFETY: the process's own entry or NULL.
    unsafe {
        let entry = pg_sys::MyBEEntry;
        !entry.is_null() && (*entry).st_state == pg_sys::BackendState::STATE_FASTPATH
    }
}

/// Whether a text of SQL, or one that quotes some, is sensitive. Allocates nothing and does not raise.
pub(super) fn is_text_sensitive(text: &[u8]) -> bool {
    is_itself_sensitive(text)
        || PreparedNames::of(text).any(|name| {
            // SAFETY: a C string; looks into a table of the process's own.
            let statement = unsafe { prepared(name.as_ptr().cast(), false) };
            // SAFETY: a prepared statement or NULL.
            unsafe { is_prepared_text_sensitive(statement) }
        })
}

fn is_itself_sensitive(text: &[u8]) -> bool {
    is_sensitive_statement(text) || wrappers::named_in(text) || remembered::contains(text)
}

/// # Safety
/// A prepared statement of this process, or NULL.
unsafe fn is_prepared_text_sensitive(statement: *mut pg_sys::PreparedStatement) -> bool {
    // SAFETY: the caller's promise; its text is a C string.
    unsafe {
        let Some(source) = statement.as_ref().and_then(|it| it.plansource.as_ref()) else {
            return false;
        };
        is_itself_sensitive(CStr::from_ptr(source.query_string).to_bytes())
    }
}

/// The plan source of a prepared statement, or NULL; and whether its text alone makes it sensitive.
///
/// # Safety
/// `name` is a C string.
pub(super) unsafe fn prepared_source(name: *const c_char) -> (*mut pg_sys::CachedPlanSource, bool) {
    // SAFETY: the caller's promise.
    unsafe {
        let statement = prepared(name, false);
        let source = statement
            .as_ref()
            .map_or(std::ptr::null_mut(), |it| it.plansource);
        (source, is_prepared_text_sensitive(statement))
    }
}
