//! What a command says on standard output.

use crate::client::failure::{Failure, Kind};
use crate::visible::acts_on_terminals;
use serde::Serialize;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

/// Writes all of it, without the buffer of `std::io::Stdout`, which nobody erases. A reader who has gone
/// away (`| head`) is no error.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write(content: &[u8]) -> Result<(), Failure> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    match stdout.and_then(|stdout| File::from(stdout).write_all(content)) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Kind::Failed,
            "standard output cannot be written to",
        )),
        _ => Ok(()),
    }
}

/// Whether a person sees it at once.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Writes JSON on one line. What a terminal would act upon is escaped in it; a program that reads it
/// gets the same texts. Not for values, which go through memory that erases itself.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write_json(content: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(content)
        .map_err(|_| Failure::new(Kind::Failed, "the answer cannot be written as JSON"))?;
    let mut line = visible_json(&json);
    line.push('\n');
    write(line.as_bytes())
}

/// Such characters stand in the texts of JSON alone, where they may be escaped.
fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if acts_on_terminals(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A line for people, beside the output.
#[allow(clippy::print_stderr)]
pub(crate) fn note(text: &str) {
    eprintln!("pg-secrets: {}", crate::masking::masked(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_meaning_and_loses_what_a_terminal_acts_upon() {
        let text = "a\u{1b}[31m\u{9b}2J\u{202e}\u{e0041}ü\n";
        let json = serde_json::to_string(text).unwrap();
        let shown = visible_json(&json);
        assert!(!shown.chars().any(acts_on_terminals), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
