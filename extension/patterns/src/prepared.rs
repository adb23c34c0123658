//! Which prepared statements a text executes: `EXECUTE p('value')` names no function of ours.

use crate::bytes::{is_word, skip_space};

/// The longest name that Postgres keeps of anything, in bytes; longer ones are cut.
pub const LONGEST_NAME: usize = 63;

const EXECUTE: &[u8] = b"execute";

/// The names of prepared statements that a text may execute, as Postgres folds, unquotes and cuts them.
/// Also what follows EXECUTE for other reasons, as the word ON in a GRANT.
#[derive(Debug)]
pub struct PreparedNames<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> PreparedNames<'t> {
    /// Of this text.
    #[must_use]
    pub fn of(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for PreparedNames<'_> {
    /// The name's bytes, and behind them zeroes.
    type Item = [u8; LONGEST_NAME + 1];

    fn next(&mut self) -> Option<Self::Item> {
        while self.at + EXECUTE.len() <= self.text.len() {
            let at = self.at;
            self.at += 1;
            let stands = self.text[at] | 0x20 == b'e'
                && self.text[at + 1] | 0x20 == b'x'
                && self.text[at..at + EXECUTE.len()].eq_ignore_ascii_case(EXECUTE)
                && (at == 0 || !is_word(self.text[at - 1]))
                && !self
                    .text
                    .get(at + EXECUTE.len())
                    .copied()
                    .is_some_and(is_word);
            if stands {
                self.at = at + EXECUTE.len();
                let name = skip_space(self.text, self.at).and_then(|at| name_at(self.text, at));
                if name.is_some() {
                    return name;
                }
            }
        }
        None
    }
}

fn name_at(text: &[u8], at: usize) -> Option<[u8; LONGEST_NAME + 1]> {
    let mut name = [0; LONGEST_NAME + 1];
    let mut length = 0;
    let mut cut = false;
    let mut keep = |byte: u8| {
        if length < LONGEST_NAME {
            name[length] = byte;
            length += 1;
        } else {
            cut = true;
        }
    };
    if text.get(at) == Some(&b'"') {
        let mut rest = text[at + 1..].iter().copied().peekable();
        while let Some(byte) = rest.next() {
            if byte == b'"' && rest.next_if_eq(&b'"').is_none() {
                break;
            }
            keep(byte);
        }
    } else {
        let word = text.get(at..)?.iter().take_while(|byte| is_word(**byte));
        word.for_each(|byte| keep(byte.to_ascii_lowercase()));
    }
    if cut && let Err(whole) = std::str::from_utf8(&name[..length]) {
        // Postgres cuts between characters.
        name[whole.valid_up_to()..].fill(0);
    }
    (length > 0).then_some(name)
}

/// Whether a text executes something whose name is written with Unicode escapes, which nobody does who
/// does not want to hide it.
#[must_use]
pub fn executes_escaped_name(text: &[u8]) -> bool {
    let executed = |at: usize| {
        text[at] | 0x20 == b'e'
            && text.len() - at > EXECUTE.len()
            && text[at..at + EXECUTE.len()].eq_ignore_ascii_case(EXECUTE)
    };
    let escaped = |at: usize| matches!(text.get(at..), Some([b'u' | b'U', b'&', b'"', ..]));
    text.contains(&b'&')
        && (0..text.len())
            .any(|at| executed(at) && skip_space(text, at + EXECUTE.len()).is_none_or(escaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        PreparedNames::of(text.as_bytes())
            .map(|name| {
                let end = name
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(name.len());
                String::from_utf8_lossy(&name[..end]).into_owned()
            })
            .collect()
    }

    #[test]
    fn names_are_found_as_postgres_reads_them() {
        assert_eq!(of("EXECUTE p('value')"), ["p"]);
        assert_eq!(
            of("select 1; execute /* a */ My_Plan (1); Execute\n\"My \"\"Plan\""),
            ["my_plan", "My \"Plan"]
        );
        assert_eq!(of("explain execute p$1"), ["p$1"]);
        assert_eq!(of("grant execute on function f to a"), ["on"]);
        assert_eq!(of(&format!("execute {}", "x".repeat(70))), ["x".repeat(63)]);
        assert_eq!(
            of(&format!("execute {}", "\u{e4}".repeat(40))),
            ["\u{e4}".repeat(31)]
        );
        assert!(executes_escaped_name(
            br#"explain execute /* a */ U&"\0070"(1)"#
        ));
        assert!(!executes_escaped_name(b"execute u1(1)"));
        for none in [
            "",
            "select executed(1)",
            "execute",
            "select 1 as execute_p",
            "execute 'a'",
        ] {
            assert!(of(none).is_empty(), "{none}");
        }
    }
}
