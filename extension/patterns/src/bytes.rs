//! Small questions about bytes of SQL.

/// Whether a byte can stand inside of an identifier. Every byte of a character that is not ASCII can.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// How far a search goes through white space and comments: a text that is full of them must not cost more
/// than its length.
const FARTHEST: usize = 2048;

/// Where the next thing stands that is neither white space nor a comment; `None` where that is far away.
pub(crate) fn skip_space(text: &[u8], from: usize) -> Option<usize> {
    let end = text.len().min(from.saturating_add(FARTHEST));
    let at = skip_space_within(&text[..end], from);
    (at < end || end == text.len()).then_some(at)
}

fn skip_space_within(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at..) {
            Some([byte, ..]) if byte.is_ascii_whitespace() || *byte == 0x0b => at += 1,
            Some([b'-', b'-', ..]) => at = end_of_line(text, at),
            Some([b'/', b'*', ..]) => at = end_of_comment(text, at),
            _ => return at,
        }
    }
}

/// Where the line ends in which `at` stands.
pub(crate) fn end_of_line(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    at + length.unwrap_or(rest.len())
}

/// Where the comment ends that begins at `at` with its slash; comments nest.
pub(crate) fn end_of_comment(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}
