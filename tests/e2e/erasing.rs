//! Memory that Rust code of the extension gives back holds nothing of what was in it.
#![allow(unsafe_code)]

#[path = "../../extension/src/erasing_allocator.rs"]
mod erasing_allocator;

use erasing_allocator::ErasingAllocator;
use pg_secrets_tests::Proof;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Seek, SeekFrom};

const MARK: u8 = 0xa5;

/// How many bytes of a piece still hold the mark after it was given back: as the kernel sees them, for
/// the piece is nobody's any more.
fn left(allocator: &impl GlobalAlloc, size: usize) -> Proof<usize> {
    let layout = Layout::from_size_align(size, 16).expect("a layout");
    // Made before, or it would be the very piece that was given back.
    let mut found = vec![0; size];
    let mut memory = std::fs::File::open("/proc/self/mem")?;
    // SAFETY: the piece is written within its size, given back once, and not touched after that.
    let address = unsafe {
        let piece = allocator.alloc(layout);
        std::ptr::write_bytes(piece, MARK, size);
        std::hint::black_box(piece);
        allocator.dealloc(piece, layout);
        piece as u64
    };
    memory.seek(SeekFrom::Start(address))?;
    // What is not mapped any more holds nothing.
    let read = memory.read(&mut found).unwrap_or(0);
    Ok(found[..read].iter().filter(|byte| **byte == MARK).count())
}

#[test]
fn what_is_given_back_is_erased() -> Proof {
    // One after the other in a thread of its own: nobody else is given the piece meanwhile.
    for size in [64, 1000, 4096, 100_000, (128 << 10) + 24, 300_000, 5 << 20] {
        let found = left(&ErasingAllocator, size)?;
        assert!(found < 16, "{found} of {size} bytes");
    }
    // And what the system's own allocator leaves is found.
    assert!(left(&System, 4096)? > 4000);
    Ok(())
}
