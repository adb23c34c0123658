//! The text that Postgres keeps of a prepared statement: pg_prepared_statements shows it to whoever has
//! the session next, pg_backend_memory_contexts too, and when memory runs out Postgres writes its
//! beginning to the log past every hook.
#![allow(unsafe_code)]

use super::masked;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// How many of the newest contexts are looked at; the one just made is the first.
const NEWEST: usize = 8;

/// Masks the copy of `text` that was made for the statement which is being prepared just now, if one is.
/// It serves for messages alone: the statement itself is parsed already.
///
/// # Safety
/// `text` is a C string; in a process of the server.
pub(super) unsafe fn mask_copy_of(text: *const c_char) {
    // SAFETY: the contexts below the current one. What names such a one is the copy itself
    // (CreateCachedPlan), which belongs to it and may be written to.
    unsafe {
        let mut context = (*pg_sys::CurrentMemoryContext).firstchild;
        for _ in 0..NEWEST {
            let Some(child) = context.as_ref() else {
                return;
            };
            if !child.name.is_null()
                && !child.ident.is_null()
                && CStr::from_ptr(child.name) == c"CachedPlanSource"
                && child.ident != text
                && CStr::from_ptr(child.ident) == CStr::from_ptr(text)
            {
                let length = CStr::from_ptr(text).to_bytes().len();
                let copy = child.ident.cast_mut().cast::<u8>();
                masked::mask(std::slice::from_raw_parts_mut(copy, length));
                return;
            }
            context = child.nextchild;
        }
    }
}
