//! Standard input, into memory that erases itself.

use crate::client::failure::{Failure, Kind};
use crate::client::http::append;
use crate::secret_text::SecretText;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// The longest text that is read, in bytes; far more than any server takes.
const LONGEST: usize = 64 << 20;

/// Whether a person types it.
pub(crate) fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// All of it, byte for byte. `what` it is stands in errors.
///
/// # Errors
/// Where it cannot be read, is too long, or is not UTF-8.
pub(crate) fn read(what: &str) -> Result<SecretText, Failure> {
    // Not through the buffer of `std::io::Stdin`, which nobody erases.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(|_| cannot(what))?;
    read_from(&mut File::from(stdin), what)
}

/// The same from a file.
///
/// # Errors
/// As `read`.
pub(crate) fn read_from(source: &mut impl Read, what: &str) -> Result<SecretText, Failure> {
    let mut content = Zeroizing::new(Vec::with_capacity(64 << 10));
    let mut piece = Zeroizing::new([0; 16 << 10]);
    loop {
        match source.read(&mut *piece) {
            Ok(0) => break,
            Ok(length) => append(&mut content, &piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(cannot(what)),
        }
        if content.len() > LONGEST {
            return Err(Failure::new(Kind::Usage, format!("{what} is too long")));
        }
    }
    match std::str::from_utf8(&content) {
        Ok(text) => Ok(SecretText::new(text.to_owned())),
        Err(_) => Err(Failure::new(Kind::Usage, format!("{what} is not UTF-8"))),
    }
}

fn cannot(what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{what} cannot be read"))
}
