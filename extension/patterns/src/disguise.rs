//! Names whose letters are written as escapes: `U&"\0063reate_secret"`, `U&"!0063…" UESCAPE '!'`, and the
//! body of a DO in an `E'…'` string.

use crate::bytes::skip_space;

/// What an escape can be written as, behind the escape character: what leads, how many digits follow at
/// most, and to which base.
const FORMS: &[(&[u8], usize, u32)] = &[
    (b"", 4, 16),
    (b"+", 6, 16),
    (b"x", 2, 16),
    (b"x", 1, 16),
    (b"u", 4, 16),
    (b"U", 8, 16),
    (b"", 3, 8),
    (b"", 2, 8),
    (b"", 1, 8),
];

/// Whether one of `names` stands in `text` with at least one of its letters escaped.
pub(crate) fn names(text: &[u8], names: &[&[u8]]) -> bool {
    let stands = |escape: u8| {
        text.contains(&escape)
            && (0..text.len()).any(|at| names.iter().any(|name| begins(&text[at..], name, escape)))
    };
    let mut tried = [b'\\'; MOST_ESCAPES];
    let mut count = 1;
    if stands(b'\\') {
        return true;
    }
    // Only strings and names that begin with U& have escapes of their own.
    if !text.contains(&b'&') {
        return false;
    }
    for escape in own_escapes(text) {
        if !tried[..count].contains(&escape) && count < MOST_ESCAPES {
            tried[count] = escape;
            count += 1;
            if stands(escape) {
                return true;
            }
        }
    }
    false
}

/// How many escape characters a text is searched with: each is a walk over all of it.
const MOST_ESCAPES: usize = 8;

/// The characters that the text declares as escapes, in a string of any kind.
fn own_escapes(text: &[u8]) -> impl Iterator<Item = u8> {
    const DECLARATION: &[u8] = b"uescape";
    (0..text.len())
        .filter(|at| {
            text[*at] | 0x20 == b'u'
                && text.len() - at >= DECLARATION.len()
                && text[*at..at + DECLARATION.len()].eq_ignore_ascii_case(DECLARATION)
        })
        .filter_map(|at| {
            let string = text.get(skip_space(text, at + DECLARATION.len())?..)?;
            match string {
                [b'\'', escape, ..] | [b'e' | b'E', b'\'', escape, ..] => Some(*escape),
                [b'$', rest @ ..] => {
                    let tag = rest.iter().take(64).position(|byte| *byte == b'$')?;
                    rest.get(tag + 1).copied()
                }
                _ => None,
            }
        })
}

/// Whether `text` begins with `name`, each letter as it is or escaped.
fn begins(text: &[u8], name: &[u8], escape: u8) -> bool {
    let Some((letter, rest)) = name.split_first() else {
        return true;
    };
    let Some(first) = text.first() else {
        return false;
    };
    if first.eq_ignore_ascii_case(letter) {
        return begins(&text[1..], rest, escape);
    }
    *first == escape
        && FORMS.iter().any(|(lead, digits, base)| {
            let Some(behind) = text[1..].strip_prefix(*lead) else {
                return false;
            };
            let Some(written) = behind.get(..*digits) else {
                return false;
            };
            let code = std::str::from_utf8(written)
                .ok()
                .and_then(|written| u32::from_str_radix(written, *base).ok());
            code.and_then(|code| u8::try_from(code).ok())
                .is_some_and(|code| code.eq_ignore_ascii_case(letter))
                && begins(&behind[*digits..], rest, escape)
        })
}
