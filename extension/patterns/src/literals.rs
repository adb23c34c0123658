//! Which bytes of a statement are the contents of its literals.

use crate::bytes::{end_of_comment, end_of_line, is_word};

const STAR: u8 = b'*';

/// Overwrites the contents of all strings and comments with `*` and the digits of all numbers with `0`,
/// at the same length, so that places in the text stay what they are. What was cut within a literal is
/// masked to its end.
///
/// Whether a backslash is an escape in a string without a prefix depends on `standard_conforming_strings`, which a
/// function may have set otherwise: where that decides where a string ends, all that follows is masked.
///
/// Answers whether there was anything to mask: a literal or a parameter as `$1`.
pub fn mask_literals(text: &mut [u8]) -> bool {
    let mut masked = false;
    let mut at = 0;
    while at < text.len() {
        at = match &text[at..] {
            [b'\'', ..] => {
                masked = true;
                mask_string(text, at, has_prefix(text, at, b'e'))
            }
            [b'"', ..] => end_of_quoted(text, at),
            [b'-', b'-', ..] => fill(text, at + 2, end_of_line(text, at)),
            [b'/', b'*', ..] => {
                let end = end_of_comment(text, at);
                let closed = end >= at + 4 && text[..end].ends_with(b"*/");
                fill(text, at + 2, if closed { end - 2 } else { end });
                end
            }
            [b'$', ..] => match dollar_tag(text, at) {
                Some(behind) => {
                    masked = true;
                    mask_dollars(text, at, behind)
                }
                None => {
                    masked |= text.get(at + 1).is_some_and(u8::is_ascii_digit);
                    end_of_word(text, at + 1)
                }
            },
            [b'0'..=b'9', ..] => {
                masked = true;
                mask_number(text, at)
            }
            [byte, ..] if is_word(*byte) => end_of_word(text, at),
            _ => at + 1,
        };
    }
    masked
}

fn fill(text: &mut [u8], from: usize, to: usize) -> usize {
    let from = from.min(to);
    for byte in &mut text[from..to] {
        // Lines keep their ends, so that what shows them shows as many.
        if *byte != b'\n' {
            *byte = STAR;
        }
    }
    to
}

fn end_of_word(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| is_word(**byte)).count()
}

/// Whether the letter stands right before `at`, as a word of its own.
fn has_prefix(text: &[u8], at: usize, letter: u8) -> bool {
    at >= 1 && text[at - 1] | 0x20 == letter && (at == 1 || !is_word(text[at - 2]))
}

/// Masks the string that begins at `at` with its quote, and all pieces that go on with it on later
/// lines. Answers where it ends.
fn mask_string(text: &mut [u8], mut at: usize, escapes: bool) -> usize {
    loop {
        let from = at + 1;
        let mut end = from;
        let closed = loop {
            match &text[end..] {
                [] => break false,
                [b'\\', b'\'', ..] if !escapes => {
                    end = text.len();
                    break false;
                }
                [b'\\', _, ..] if escapes => end += 2,
                [b'\'', b'\'', ..] => end += 2,
                [b'\'', ..] => break true,
                _ => end += 1,
            }
        };
        fill(text, from, end);
        if !closed {
            return text.len();
        }
        match next_piece(text, end + 1) {
            Some(next) => at = next,
            None => return end + 1,
        }
    }
}

/// Where a string goes on that has a line's end, and nothing but white space and comments, between its
/// pieces.
fn next_piece(text: &mut [u8], mut at: usize) -> Option<usize> {
    let mut lines = 0;
    loop {
        match text.get(at..)? {
            [b'\n' | b'\r', ..] => {
                lines += 1;
                at += 1;
            }
            [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => at += 1,
            [b'-', b'-', ..] => at = fill(text, at + 2, end_of_line(text, at)),
            [b'\'', ..] if lines > 0 => return Some(at),
            _ => return None,
        }
    }
}

fn end_of_quoted(text: &[u8], at: usize) -> usize {
    let closing = text[at + 1..].iter().position(|byte| *byte == b'"');
    closing.map_or(text.len(), |length| at + 1 + length + 1)
}

/// Where the opening `$tag$` at `at` ends, if it is one.
fn dollar_tag(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at + 1..];
    let length = rest
        .iter()
        .position(|byte| *byte == b'$' || !is_word(*byte))?;
    let valid = rest[length] == b'$' && !rest.first().is_some_and(u8::is_ascii_digit);
    valid.then_some(at + 1 + length + 1)
}

fn mask_dollars(text: &mut [u8], at: usize, behind: usize) -> usize {
    let length = behind - at;
    let closing = {
        let (tag, body) = (&text[at..behind], &text[behind..]);
        body.windows(length).position(|piece| piece == tag)
    };
    match closing {
        Some(start) => {
            fill(text, behind, behind + start);
            behind + start + length
        }
        None => fill(text, behind, text.len()),
    }
}

fn mask_number(text: &mut [u8], mut at: usize) -> usize {
    while let Some(byte) = text.get_mut(at) {
        if !is_word(*byte) && *byte != b'.' {
            break;
        }
        // Letters too: a value that begins with a digit and was not quoted.
        if byte.is_ascii_alphanumeric() {
            *byte = b'0';
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        mask_literals(&mut bytes);
        assert_eq!(bytes.len(), text.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_form_of_a_literal_is_masked_at_its_length() {
        for (text, expected) in [
            (
                "select f('abc', \"col\", $1)",
                "select f('***', \"col\", $1)",
            ),
            ("select 'it''s' || 'x'", "select '*****' || '*'"),
            (r"select E'a\'b', 'c\d', 'd'", r"select E'****', '***', '*'"),
            (r"select E'a\'b', 'c\', d", r"select E'****', '******"),
            (r"select e'a\\', 'b'", r"select e'***', '*'"),
            (r"select name'a\', 'b'", r"select name'********"),
            (
                "select E'a'\n  'b\\'c' , 'd'",
                "select E'*'\n  '****' , '*'",
            ),
            ("select E'a' -- x\n 'b\\'c'", "select E'*' --**\n '****'"),
            (
                "select U&'a' , N'b', x'0f', B'01'",
                "select U&'*' , N'*', x'**', B'**'",
            ),
            (
                "select $$a'b$$, $t$ $$ $x$ $t$",
                "select $$***$$, $t$********$t$",
            ),
            ("select a$b$c, $1, '$$'", "select a$b$c, $1, '**'"),
            (
                "select 1, 23.45, a1, 1e5, 0xff",
                "select 0, 00.00, a1, 000, 0000",
            ),
            ("do $x$ open", "do $x$*****"),
            ("select 'open", "select '****"),
            (r"select E'open\", r"select E'*****"),
            (
                "select /* a /* b */ c */ 'd'",
                "select /***************/ '*'",
            ),
            ("select 1 -- secret\n, 'b'", "select 0 --*******\n, '*'"),
            ("select /* open", "select /******"),
            ("select \"a'b\", 'c'", "select \"a'b\", '*'"),
            ("select 'ä' || b", "select '**' || b"),
            ("select '\n'", "select '\n'"),
            ("select '", "select '"),
            ("$", "$"),
            ("", ""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn it_says_whether_there_was_a_literal_or_a_parameter() {
        for (text, expected) in [
            ("commit", false),
            ("select a$b from \"x\" -- why", false),
            ("select $1", true),
            ("select ''", true),
            ("select $$a$$", true),
            ("select 1", true),
        ] {
            assert_eq!(
                mask_literals(&mut text.as_bytes().to_vec()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn no_piece_of_a_value_is_left_wherever_the_text_is_cut() {
        let text = "select f('Zq7', E'Zq7\\'Zq7', $a$Zq7$a$, \"c\") /* Zq7 */ -- Zq7";
        for end in 0..text.len() {
            assert!(!masked(&text[..end]).contains("Zq7"), "{}", &text[..end]);
        }
    }
}
