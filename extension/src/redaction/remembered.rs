//! Texts that turned out to be sensitive although they do not look it, as of a statement that selects
//! from a view of ours by another name: this session knows them again when they come back prepared.
//!
//! A Bloom filter: nothing that was put in is ever missed, nothing is allocated, and no text is kept.

use super::verdicts;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const WORDS: usize = 8192;
const BITS: u64 = (WORDS * 64) as u64;

/// How many bits stand for a text: with a thousand texts one in a hundred million others looks like
/// one of them.
const PER_TEXT: u64 = 4;

/// Whether there is any: most sessions never have one.
static USED: AtomicBool = AtomicBool::new(false);

static FILTER: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Remembers a text.
pub(super) fn add(text: &[u8]) {
    USED.store(true, Ordering::Relaxed);
    let mut is_new = false;
    for (word, bit) in places(text) {
        is_new |= FILTER[word].fetch_or(bit, Ordering::Relaxed) & bit == 0;
    }
    if is_new {
        verdicts::forget();
    }
}

/// Whether a text was remembered.
pub(super) fn contains(text: &[u8]) -> bool {
    USED.load(Ordering::Relaxed)
        && places(text).all(|(word, bit)| FILTER[word].load(Ordering::Relaxed) & bit != 0)
}

fn places(text: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let (first, second) = (
        hash(text, 0xcbf2_9ce4_8422_2325),
        hash(text, 0x9e37_79b9_7f4a_7c15) | 1,
    );
    (0..PER_TEXT).map(move |number| {
        let place = first.wrapping_add(number.wrapping_mul(second)) % BITS;
        let word = usize::try_from(place / 64).unwrap_or(0);
        (word, 1 << (place % 64))
    })
}

/// FNV-1a from this basis, with its bits mixed at the end.
fn hash(text: &[u8], basis: u64) -> u64 {
    let hash = text.iter().fold(basis, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}
