//! The allocator of all memory that Rust code in this library uses: what is given back is erased
//! first. Libraries that we call keep copies of values and keys in buffers of their own, as parsers
//! do; here none of them outlives its use, whoever made it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

/// From how many bytes on the kernel is asked to take a piece's pages back, in place of writing over
/// them. (Not with glibc's huge pages, glibc.malloc.hugetlb=2, where it takes whole ones back only.)
/// Sealing makes buffers of megabytes and uses some hundred bytes of them: writing would make
/// pages of memory that never were.
const LARGE: usize = 128 << 10;

/// A multiple of the page size of every machine that Postgres runs on.
const PAGES: usize = 64 << 10;

/// The system's allocator, with every piece erased before it goes back.
pub(crate) struct ErasingAllocator;

// SAFETY: every call is handed on to the system's allocator with the same layout; what is erased
// before is still owned by the caller, who gives it up with that call. `realloc` keeps its default,
// which allocates, copies and gives the old piece back through `dealloc`.
unsafe impl GlobalAlloc for ErasingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: the piece has as many bytes, and is given up.
        unsafe {
            erase(piece, layout.size());
            System.dealloc(piece, layout);
        }
    }
}

/// Erases `size` bytes. A compiler must not leave explicit_bzero(3) out.
///
/// # Safety
/// They are the caller's to write to.
unsafe fn erase(piece: *mut u8, size: usize) {
    if size < LARGE {
        // SAFETY: the caller's promise.
        unsafe { libc::explicit_bzero(piece.cast(), size) };
        return;
    }
    let before = piece.align_offset(PAGES).min(size);
    let inside = (size - before) / PAGES * PAGES;
    // SAFETY: three parts that together are the piece. Whole pages of a heap are private and
    // anonymous: once the kernel has taken them back they read as zeros (madvise(2), MADV_DONTNEED).
    // It refuses for pages that are locked into memory; those are written over.
    unsafe {
        let middle = piece.add(before);
        if libc::madvise(middle.cast(), inside, libc::MADV_DONTNEED) != 0 {
            libc::explicit_bzero(middle.cast(), inside);
        }
        libc::explicit_bzero(piece.cast(), before);
        libc::explicit_bzero(middle.add(inside).cast(), size - before - inside);
    }
}
