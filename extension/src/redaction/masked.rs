//! Statements with the contents of their literals masked.
#![allow(unsafe_code)]

use pg_secrets_patterns::{mask_known, mask_literals};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// Masks a statement where it stands. Answers whether there was a literal or a parameter in it.
pub(super) fn mask(text: &mut [u8]) -> bool {
    // SAFETY: reads a setting of this process.
    let escapes = unsafe { !pg_sys::standard_conforming_strings };
    let held = mask_literals(text, escapes);
    mask_known(text);
    held
}

/// A masked copy of the first `most` bytes of a statement, in this memory context.
///
/// # Safety
/// `text` is a C string, `context` one of this process's. Raises where no memory is left.
pub(super) unsafe fn copy(
    text: *const c_char,
    most: usize,
    context: pg_sys::MemoryContext,
) -> *mut c_char {
    // SAFETY: the caller's promise; what was allocated has room for the text and its end.
    unsafe {
        let bytes = CStr::from_ptr(text).to_bytes();
        let bytes = &bytes[..bytes.len().min(most)];
        let flags = pg_sys::MCXT_ALLOC_HUGE as i32;
        let room = pg_sys::MemoryContextAllocExtended(context, bytes.len() + 1, flags).cast::<u8>();
        let copied = std::slice::from_raw_parts_mut(room, bytes.len() + 1);
        copied[..bytes.len()].copy_from_slice(bytes);
        copied[bytes.len()] = 0;
        mask(&mut copied[..bytes.len()]);
        room.cast()
    }
}
