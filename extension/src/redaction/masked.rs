//! Statements with the contents of their literals masked.
#![allow(unsafe_code)]

use pg_secrets_patterns::{mask_known, mask_literals};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    // Without pgrx's guard, which makes another error of one that passes through it.
    #[link_name = "MemoryContextAllocExtended"]
    fn allocate(context: pg_sys::MemoryContext, size: usize, flags: c_int) -> *mut c_void;
    #[link_name = "pfree"]
    fn give_back(piece: *mut c_void);
}

/// Masks a statement where it stands. Answers whether there was a literal or a parameter in it.
pub(super) fn mask(text: &mut [u8]) -> bool {
    let held = mask_literals(text);
    mask_known(text);
    held
}

/// A masked copy of the first `most` bytes of a statement, in this memory context; NULL where no memory is
/// left.
///
/// # Safety
/// `text` is a C string, `context` one of this process's.
pub(super) unsafe fn try_copy(
    text: *const c_char,
    most: usize,
    context: pg_sys::MemoryContext,
) -> *mut c_char {
    // SAFETY: the caller's promise.
    unsafe { copied(text, most, context, pg_sys::MCXT_ALLOC_NO_OOM) }
}

/// A masked copy of a statement, in the current memory context. Raises where no memory is left.
///
/// # Safety
/// `text` is a C string. The callers' frames hold nothing to be dropped.
pub(super) unsafe fn copy(text: *const c_char) -> *mut c_char {
    // SAFETY: the caller's promise.
    unsafe { copied(text, usize::MAX, pg_sys::CurrentMemoryContext, 0) }
}

/// Gives a copy back; NULL is none.
///
/// # Safety
/// `copy` is one of this module's.
pub(super) unsafe fn free(copy: *mut c_char) {
    if !copy.is_null() {
        // SAFETY: the caller's promise.
        unsafe { give_back(copy.cast()) };
    }
}

unsafe fn copied(
    text: *const c_char,
    most: usize,
    context: pg_sys::MemoryContext,
    flags: u32,
) -> *mut c_char {
    // SAFETY: the callers' promise; what was allocated has room for the text and its end.
    unsafe {
        let bytes = CStr::from_ptr(text).to_bytes();
        let bytes = &bytes[..bytes.len().min(most)];
        let flags = (flags | pg_sys::MCXT_ALLOC_HUGE) as c_int;
        let room = allocate(context, bytes.len() + 1, flags).cast::<u8>();
        if !room.is_null() {
            let copied = std::slice::from_raw_parts_mut(room, bytes.len() + 1);
            copied[..bytes.len()].copy_from_slice(bytes);
            copied[bytes.len()] = 0;
            mask(&mut copied[..bytes.len()]);
        }
        room.cast()
    }
}
