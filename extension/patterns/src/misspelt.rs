//! Calls of functions that do not exist but nearly do: their error quotes what they were called with.

use crate::bytes::{is_word, skip_space};

/// What is called with values, and how many letters may be wrong: one where a short name could be
/// somebody else's.
const CALLS: &[(&[u8], usize)] = &[
    (b"create_secret", 2),
    (b"rotate_secret", 2),
    (b"get_secret_by_name", 2),
    (b"get_secrets", 1),
    (b"get_secret", 1),
    (b"pgp_encrypt", 1),
    (b"pgp_decrypt", 1),
    (b"create_token", 1),
];

const LONGEST: usize = 24;

/// Whether the text calls one of our functions by a name that is nearly its own.
pub(crate) fn calls(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        if !is_word(text[at]) {
            at += 1;
            continue;
        }
        let length = text[at..].iter().take_while(|byte| is_word(**byte)).count();
        let word = &text[at..at + length];
        at += length;
        // Few words are called, so this is asked before how near they are.
        if (8..=LONGEST).contains(&length) && is_called(text, at) && is_meant(word) {
            return true;
        }
    }
    false
}

/// Whether a parenthesis follows the word that ends at `at`.
fn is_called(text: &[u8], at: usize) -> bool {
    let behind = match text.get(at) {
        Some(b'"') => at + 1,
        _ => at,
    };
    skip_space(text, behind).is_none_or(|at| text.get(at) == Some(&b'('))
}

fn is_meant(word: &[u8]) -> bool {
    let has_gap = word.contains(&b'_');
    CALLS.iter().any(|(name, most)| {
        if has_gap {
            is_near(word, name, *most)
        } else {
            let joined = name.iter().filter(|letter| **letter != b'_');
            joined
                .map(u8::to_ascii_lowercase)
                .eq(word.iter().map(u8::to_ascii_lowercase))
        }
    })
}

/// Whether at most `most` letters have to be changed, added, left out, or swapped with the next one to
/// make one of the other.
fn is_near(word: &[u8], name: &[u8], most: usize) -> bool {
    if word.len().abs_diff(name.len()) > most {
        return false;
    }
    // The rows of the edit distance's table: of the letter before the last one, of the last one, and
    // of this one.
    let mut rows = [[0_usize; LONGEST + 1]; 3];
    for (column, cell) in rows[1].iter_mut().enumerate() {
        *cell = column;
    }
    for (row, letter) in name.iter().enumerate() {
        let [before_last, last, this] = &mut rows;
        this[0] = row + 1;
        for (column, other) in word.iter().enumerate() {
            let differs = usize::from(!letter.eq_ignore_ascii_case(other));
            let mut least = (last[column] + differs)
                .min(last[column + 1] + 1)
                .min(this[column] + 1);
            if row > 0 && column > 0 {
                let swapped = letter.eq_ignore_ascii_case(&word[column - 1])
                    && name[row - 1].eq_ignore_ascii_case(other);
                if swapped {
                    least = least.min(before_last[column - 1] + 1);
                }
            }
            this[column + 1] = least;
        }
        rows.rotate_left(1);
    }
    rows[1][word.len()] <= most
}
