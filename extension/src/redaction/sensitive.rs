//! Whether what this process does just now may hold a value.
//!
//! A statement is sensitive by its text, by that of a prepared statement that it executes, or because
//! something found out while it ran (`mark`). Marks belong to a message of the client, told by the time at
//! which it came.
#![allow(unsafe_code)]

use super::verdicts::{self, Verdict};
use super::{activity, masked, remembered, wrappers};
use pg_secrets_patterns::{
    PreparedNames, ends_transaction, executes_escaped_name, is_sensitive_statement,
};
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

/// What is known of the client's statement.
#[derive(Clone, Copy)]
struct Statement {
    message: pg_sys::TimestampTz,
    text: *const c_char,
    sensitive: bool,
}

thread_local! {
    /// The message during which the end of a sensitive statement is logged.
    static ENDING: Cell<pg_sys::TimestampTz> = const { Cell::new(0) };
    static MARKED: Cell<pg_sys::TimestampTz> = const { Cell::new(0) };
    /// The transaction in which something was marked last.
    static MARKED_IN: Cell<u32> = const { Cell::new(0) };
    static STATEMENT: Cell<Statement> = const {
        Cell::new(Statement { message: 0, text: std::ptr::null(), sensitive: false })
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
    MARKED_IN.set(transaction());
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

/// The number of this process's present transaction; 0 outside of one.
pub(super) fn transaction() -> u32 {
    // SAFETY: the process's own entry, which nobody else writes, or NULL.
    unsafe {
        pg_sys::MyProc.as_ref().map_or(0, |entry| {
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            let number = entry.lxid;
            #[cfg(not(any(feature = "pg15", feature = "pg16")))]
            let number = entry.vxid.lxid;
            number
        })
    }
}

/// Whether something sensitive was done in this transaction, which can fail at its end.
fn is_transaction_marked() -> bool {
    let marked = MARKED_IN.get();
    let now = transaction();
    // A worker of replication gives a transaction up before it says why.
    marked != 0 && (marked == now || now == 0 && !is_client())
}

/// Called when a transaction is committed: nothing of it can fail any more.
pub(crate) fn at_commit() {
    MARKED_IN.set(0);
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
        let is_known = is_sensitive_statement(raw);
        let copy = masked::try_copy(text, usize::MAX, pg_sys::CurrentMemoryContext);
        if copy.is_null() {
            remembered::add(raw);
            return;
        }
        let room = std::slice::from_raw_parts_mut(copy.cast::<u8>(), raw.len());
        // Most are known by their words in either form, and need no place.
        if masked::mask(room) && !(is_known && is_sensitive_statement(room)) {
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
    // SAFETY: the client's statement, a C string or NULL.
    unsafe {
        let text = pg_sys::debug_query_string;
        if text.is_null() {
            // By the fast path, in a worker that runs no text, or where the end of a message ends its
            // transaction.
            return is_transaction_marked() && is_busy();
        }
        is_marked()
            || is_by_verdict(text)
            || is_transaction_marked()
                && (!is_client() || ends_transaction(CStr::from_ptr(text).to_bytes()))
    }
}

/// Whether this process serves a client. Others may run several statements without saying when each begins.
fn is_client() -> bool {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND }
}

/// # Safety
/// `text` is the client's statement.
unsafe fn is_by_verdict(text: *const c_char) -> bool {
    let known = STATEMENT.get();
    if is_client() && known.message == message() && known.text == text {
        return known.sensitive;
    }
    // SAFETY: the caller's promise.
    let sensitive = is_text_sensitive(unsafe { CStr::from_ptr(text) }.to_bytes());
    STATEMENT.set(Statement {
        message: message(),
        text,
        sensitive,
    });
    sensitive
}

/// Whether this process does something for its client just now; unknown is yes.
fn is_busy() -> bool {
    use pg_sys::BackendState::{
        STATE_IDLE, STATE_IDLEINTRANSACTION, STATE_IDLEINTRANSACTION_ABORTED,
    };
    // SAFETY: the process's own entry or NULL.
    let entry = unsafe { pg_sys::MyBEEntry.as_ref() };
    entry.is_none_or(|entry| {
        !matches!(
            entry.st_state,
            STATE_IDLE | STATE_IDLEINTRANSACTION | STATE_IDLEINTRANSACTION_ABORTED
        )
    })
}

/// Whether a text of SQL, or one that quotes some, is sensitive. Allocates nothing and does not raise.
pub(super) fn is_text_sensitive(text: &[u8]) -> bool {
    match verdict(text) {
        Verdict::Sensitive => true,
        Verdict::Harmless => false,
        Verdict::Executes => PreparedNames::of(text).any(|name| {
            // SAFETY: a C string; looks into a table of the process's own.
            let statement = unsafe { prepared(name.as_ptr().cast(), false) };
            // SAFETY: a prepared statement or NULL.
            unsafe { is_prepared_text_sensitive(statement) }
        }),
    }
}

fn verdict(text: &[u8]) -> Verdict {
    verdicts::on(text, || {
        let sensitive = is_sensitive_statement(text)
            || wrappers::named_in(text)
            || remembered::contains(text)
            || executes_escaped_name(text);
        if sensitive {
            Verdict::Sensitive
        } else if PreparedNames::of(text).next().is_some() {
            Verdict::Executes
        } else {
            Verdict::Harmless
        }
    })
}

/// # Safety
/// A prepared statement of this process, or NULL.
unsafe fn is_prepared_text_sensitive(statement: *mut pg_sys::PreparedStatement) -> bool {
    // SAFETY: the caller's promise; its text is a C string.
    unsafe {
        let Some(source) = statement.as_ref().and_then(|it| it.plansource.as_ref()) else {
            return false;
        };
        verdict(CStr::from_ptr(source.query_string).to_bytes()) == Verdict::Sensitive
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
