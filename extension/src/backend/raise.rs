//! From our errors to Postgres's.
#![allow(unsafe_code)]

use crate::error::Error;
use pgrx::{PgLogLevel, pg_sys};
use std::ffi::{CStr, CString, c_char, c_int};

/// The file name that an error of ours carries; by it the log hook knows that its text was written
/// by us and holds no value. No statement can set it.
pub(crate) const ORIGIN: &CStr = c"pg_secrets";

unsafe extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errcode(code: c_int) -> c_int;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errdetail_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errhidestmt(hide: bool) -> c_int;
    fn errhidecontext(hide: bool) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// An error whose texts lie in Postgres's memory: nothing in it needs to be dropped, so that the
/// jump out of errfinish leaves nothing behind.
#[derive(Clone, Copy)]
pub(super) struct Report {
    code: c_int,
    message: *const c_char,
    detail: *const c_char,
    hint: *const c_char,
}

impl Report {
    /// Copies an error into Postgres's memory. May itself fail as any allocation does, so it is
    /// called inside a guard.
    pub(super) fn of(error: &Error) -> Self {
        let detail = error.detail.as_ref().map(ToString::to_string);
        Self {
            code: sqlstate(error.sqlstate()),
            message: palloc_text(Some(&error.message)),
            detail: palloc_text(detail.as_deref()),
            hint: palloc_text(error.hint.as_deref()),
        }
    }

    /// Raises it as an ERROR.
    ///
    /// # Safety
    /// The caller's frames hold nothing that needs to be dropped.
    pub(super) unsafe fn raise(self) -> ! {
        // SAFETY: the sequence that ereport() stands for; every text goes through "%s".
        unsafe {
            if errstart(PgLogLevel::ERROR as c_int, std::ptr::null()) {
                errcode(self.code);
                errmsg_internal(c"%s".as_ptr(), self.message);
                if !self.detail.is_null() {
                    errdetail_internal(c"%s".as_ptr(), self.detail);
                }
                if !self.hint.is_null() {
                    errhint(c"%s".as_ptr(), self.hint);
                }
                errhidestmt(true);
                errhidecontext(true);
                errfinish(ORIGIN.as_ptr(), 0, std::ptr::null());
            }
        }
        unreachable!("an ERROR does not come back");
    }
}

/// Writes words of our own to the server's log, which hold no value; for a process without a client. Below
/// ERROR.
pub(crate) fn log(level: PgLogLevel, message: &str) {
    let message = CString::new(message.replace('\0', "")).unwrap_or_default();
    // SAFETY: as above; at such a level it comes back.
    unsafe {
        if errstart(level as c_int, std::ptr::null()) {
            errmsg_internal(c"%s".as_ptr(), message.as_ptr());
            errhidestmt(true);
            errhidecontext(true);
            errfinish(ORIGIN.as_ptr(), 0, std::ptr::null());
        }
    }
}

fn palloc_text(text: Option<&str>) -> *const c_char {
    let Some(text) = text else {
        return std::ptr::null();
    };
    let terminated = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: copies a valid C string into the current memory context.
    unsafe { pg_sys::pstrdup(terminated.as_ptr()) }
}

/// Five characters packed as Postgres does (MAKE_SQLSTATE in utils/elog.h).
fn sqlstate(code: [u8; 5]) -> c_int {
    code.iter().rev().fold(0, |packed, byte| {
        (packed << 6) + ((c_int::from(*byte) - c_int::from(b'0')) & 0x3f)
    })
}
