//! What a command says on standard output.

use crate::client::failure::{Failure, Kind};
use crate::visible::acts_on_terminals;
use serde::Serialize;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

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
/// gets the same texts. Not for values: see [`shown_json`].
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write_json(content: &impl Serialize) -> Result<(), Failure> {
    write(&shown_json(content, 0)?)
}

/// The same line in memory that erases itself, and that is not moved where `room`, in bytes, is enough
/// for the JSON.
///
/// # Errors
/// Where the content cannot be written as JSON.
pub(crate) fn shown_json(
    content: &impl Serialize,
    room: usize,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = || Failure::new(Kind::Failed, "the answer cannot be written as JSON");
    let mut json = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *json, content).map_err(|_| failed())?;
    let json = std::str::from_utf8(&json).map_err(|_| failed())?;
    let mut line = visible_json(json);
    line.push(b'\n');
    Ok(line)
}

/// Such characters stand in the texts of JSON alone, where they may be escaped.
fn visible_json(json: &str) -> Zeroizing<Vec<u8>> {
    // Two bytes become six at the most, and a line end comes behind.
    let mut shown = Zeroizing::new(Vec::with_capacity(json.len() * 3 + 1));
    for c in json.chars() {
        if acts_on_terminals(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        } else {
            shown.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
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
        let shown = std::str::from_utf8(&shown).unwrap();
        assert!(!shown.chars().any(acts_on_terminals), "{shown}");
        assert_eq!(serde_json::from_str::<String>(shown).unwrap(), text);
    }
}
