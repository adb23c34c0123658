//! COPY's text format: one row a line, fields between tabs, special characters behind backslashes.

/// The fields of a line as they stand there.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    line.split(move |byte| {
        let separates = *byte == b'\t' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        separates
    })
}

/// What a field holds, without escapes; `None` is NULL.
pub(super) fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut content = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let (byte, behind) = match (first, behind.split_first()) {
            (b'\\', Some((second, behind))) => escape(*second, behind),
            // A backslash at the very end is one.
            _ => (*first, behind),
        };
        content.push(byte);
        rest = behind;
    }
    Some(content)
}

/// The byte that `\` and `letter` stand for, and what follows.
fn escape(letter: u8, behind: &[u8]) -> (u8, &[u8]) {
    let byte = match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0'..=b'7' => {
            let (more, behind) = number(behind, 8, 2);
            let first = u32::from(letter - b'0') << (3 * more.digits);
            // Three digits can say more than a byte holds; Postgres takes the lower bits.
            return ((first + more.value) as u8, behind);
        }
        b'x' => {
            let (more, behind) = number(behind, 16, 2);
            let byte = if more.digits == 0 {
                b'x'
            } else {
                more.value as u8
            };
            return (byte, behind);
        }
        other => other,
    };
    (byte, behind)
}

struct Number {
    value: u32,
    digits: usize,
}

/// The number that at most `most` digits at the beginning of `text` form, and what follows.
fn number(text: &[u8], radix: u32, most: usize) -> (Number, &[u8]) {
    let mut value = 0;
    let mut digits = 0;
    for byte in text.iter().take(most) {
        let Some(digit) = char::from(*byte).to_digit(radix) else {
            break;
        };
        value = value * radix + digit;
        digits += 1;
    }
    (Number { value, digits }, &text[digits..])
}

/// The bytes of a bytea in either of its output formats, hex or escape; `None` where it is neither.
pub(super) fn bytea(text: &[u8]) -> Option<Vec<u8>> {
    match text.strip_prefix(b"\\x") {
        Some(hex) => from_hex(hex),
        None => from_escapes(text),
    }
}

fn from_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = hex.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

fn from_escapes(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = match (first, behind) {
            (b'\\', [b'\\', behind @ ..]) => {
                bytes.push(b'\\');
                behind
            }
            (b'\\', _) => {
                let (octal, behind) = number(behind, 8, 3);
                if octal.digits != 3 {
                    return None;
                }
                bytes.push(u8::try_from(octal.value).ok()?);
                behind
            }
            (byte, behind) => {
                bytes.push(*byte);
                behind
            }
        };
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_stands_between_tabs() {
        let split = |line: &'static str| fields(line.as_bytes()).collect::<Vec<_>>();
        assert_eq!(split("a\tb\\tc\t\\N"), [&b"a"[..], b"b\\tc", b"\\N"]);
        assert_eq!(split(""), [b""]);
        assert_eq!(split("\t"), [b"", b""]);
        // Not what pg_dump writes, and allowed.
        assert_eq!(split("a\\\tb\\\\\tc"), [&b"a\\\tb\\\\"[..], b"c"]);
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        for (field, content) in [
            ("plain", "plain"),
            ("", ""),
            ("\\b\\f\\n\\r\\t\\v", "\u{8}\u{c}\n\r\t\u{b}"),
            ("C:\\\\new", "C:\\new"),
            ("\\\\N", "\\N"),
            ("\\N?", "N?"),
            ("\\101\\60\\7\\1011", "A0\u{7}A1"),
            ("\\x41\\x4g\\xg", "A\u{4}gxg"),
            ("\\.", "."),
            ("\\q", "q"),
            ("end\\", "end\\"),
            ("Grüße", "Grüße"),
        ] {
            let found = unescape(field.as_bytes());
            assert_eq!(found.as_deref(), Some(content.as_bytes()), "{field}");
        }
        assert_eq!(unescape(b"\\N"), None);
        assert_eq!(unescape(b"\\401"), Some(vec![1]));
    }

    #[test]
    fn bytea_is_read_in_both_output_formats() {
        let every: Vec<u8> = (0..=255).collect();
        let hex: String = every.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytea(format!("\\x{hex}").as_bytes()), Some(every.clone()));
        assert_eq!(
            bytea(format!("\\x{}", hex.to_uppercase()).as_bytes()),
            Some(every.clone())
        );
        let escaped: String = every
            .iter()
            .map(|byte| match byte {
                b'\\' => "\\\\".to_owned(),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\{byte:03o}"),
            })
            .collect();
        assert_eq!(bytea(escaped.as_bytes()), Some(every));
        assert_eq!(bytea(b"\\x"), Some(Vec::new()));
        for damaged in ["\\x0", "\\x0g", "\\12", "\\400", "\\", "\\q"] {
            assert_eq!(bytea(damaged.as_bytes()), None, "{damaged}");
        }
    }
}
