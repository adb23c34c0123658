//! Which statements end a transaction, or check what it put off: what fails then may be of any statement
//! before.

use crate::bytes::{is_word, skip_space};
use crate::names::mentions;

/// Whether a text may hold such a statement: COMMIT or END, PREPARE TRANSACTION, SET CONSTRAINTS.
#[must_use]
pub fn ends_transaction(text: &[u8]) -> bool {
    let begins = skip_space(text, 0).unwrap_or(0);
    let length = text[begins..]
        .iter()
        .take_while(|byte| is_word(**byte))
        .count();
    let first = &text[begins..begins + length];
    first.eq_ignore_ascii_case(b"end")
        || mentions(text, b"commit")
        || first.eq_ignore_ascii_case(b"prepare") && mentions(text, b"transaction")
        || mentions(text, b"constraints")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_known_wherever_they_stand() {
        for text in [
            "COMMIT",
            "/* traceparent */ commit and chain",
            " end",
            "prepare transaction 'a'",
            "set constraints all immediate",
            "insert into a values (1); commit",
        ] {
            assert!(ends_transaction(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "select case when a then b end",
            "rollback",
            "prepare a as select 1",
            "insert into commits values (1)",
        ] {
            assert!(!ends_transaction(text.as_bytes()), "{text}");
        }
    }
}
