//! What was found out about texts that come again and again, as those of prepared statements and of the
//! statements within functions: looking for names takes longer than many of them run.
//!
//! A table of hashes, in which a newer text takes the place of an older one; nothing is allocated, and no
//! text is kept. Whatever can change a verdict makes all of them void (`forget`).

use std::sync::atomic::{AtomicU64, Ordering};

const PLACES: usize = 512;

static KNOWN: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// Counts the times that all were made void; hashes of another time fit none.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// What a text is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Harmless = 1,
    /// Harmless unless one of the prepared statements is not that it executes.
    Executes = 2,
    Sensitive = 3,
}

/// The low bits of an entry hold the verdict.
const VERDICT: u64 = 3;

/// The verdict on a text; `judge` gives it where it is not known.
pub(super) fn on(text: &[u8], judge: impl FnOnce() -> Verdict) -> Verdict {
    let hash = hash(text, GENERATION.load(Ordering::Relaxed));
    let place = &KNOWN[usize::try_from(hash >> 55).unwrap_or(0) % PLACES];
    let entry = place.load(Ordering::Relaxed);
    if entry & !VERDICT == hash & !VERDICT {
        match entry & VERDICT {
            1 => return Verdict::Harmless,
            2 => return Verdict::Executes,
            3 => return Verdict::Sensitive,
            _ => {}
        }
    }
    let verdict = judge();
    place.store(hash & !VERDICT | verdict as u64, Ordering::Relaxed);
    verdict
}

/// Makes all verdicts void.
pub(super) fn forget() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A hash that reads eight bytes at a time, after the manner of wyhash.
fn hash(text: &[u8], seed: u64) -> u64 {
    const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
    const SECOND: u64 = 0xa076_1d64_78bd_642f;
    let mix = |left: u64, right: u64| {
        let product = u128::from(left) * u128::from(right);
        // Both halves of the product.
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut state = seed.wrapping_mul(FIRST) ^ text.len() as u64;
    let mut pieces = text.chunks_exact(8);
    for piece in &mut pieces {
        let word = piece.try_into().map_or(0, u64::from_le_bytes);
        state = mix(state ^ word, SECOND) ^ FIRST;
    }
    let mut last = [0; 8];
    let rest = pieces.remainder();
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last), FIRST)
}
