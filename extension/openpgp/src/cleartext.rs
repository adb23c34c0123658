//! The cleartext signature framework (RFC 9580, section 7): a text that one can read, and a signature
//! below it.
//!
//! Parsers of the framework are lenient, and each differently: blanks at the end of a line, the form
//! of a line's end and lines escaped without need all fall out of what is signed. Here a text has one
//! form in a message, and no other is read, so that nothing can be changed in it unnoticed.

use crate::armor::dearmor;
use crate::signed_text::VerifyTextError;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";
const ESCAPE: &str = "- ";

/// The longest line, in bytes. GnuPG cuts one of 20,000 off, and then finds the signature bad.
const LONGEST_LINE: usize = 16 << 10;

/// The parts of a message.
pub(crate) struct Parts {
    /// The text, with line feeds as the ends of its lines.
    pub(crate) text: String,
    /// The hash algorithm that the header names.
    pub(crate) hash: Option<String>,
    /// The packets of the signature.
    pub(crate) signature: Vec<u8>,
}

/// Whether `text` comes back from a message as it was, with this program and with others.
pub(crate) fn is_signable(text: &str) -> bool {
    let sound = |line: &str| line.trim_end().len() == line.len() && line.len() <= LONGEST_LINE;
    !text.contains(['\r', '\0']) && text.split('\n').all(sound)
}

/// What of `text` is signed: the lines end with CR LF (section 7.2).
pub(crate) fn canonical(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// The message of `text`. The line feed that stands before the signature belongs to neither: a text
/// that ends with one keeps it.
pub(crate) fn write(text: &str, hash: Option<&str>, armored_signature: &str) -> String {
    let mut message = format!("{BEGIN}\n");
    if let Some(hash) = hash {
        message.push_str(&format!("Hash: {hash}\n"));
    }
    message.push('\n');
    for line in text.split('\n') {
        if is_escaped(line) {
            message.push_str(ESCAPE);
        }
        message.push_str(line);
        message.push('\n');
    }
    message.push_str(armored_signature);
    message
}

/// Which lines are escaped: those that could be taken for armor, and those that mailers change.
fn is_escaped(line: &str) -> bool {
    line.starts_with('-') || line.starts_with("From ")
}

/// Takes a message apart. All its lines may end with CR LF, as after a way through a mailer, and
/// there may be empty lines behind it.
pub(crate) fn read(message: &str) -> Result<Parts, VerifyTextError> {
    let message = message.replace("\r\n", "\n");
    let holds_another = |text: &str| text.lines().any(|line| line == BEGIN);
    let body = message
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_prefix('\n'))
        .ok_or(match holds_another(&message) {
            true => VerifyTextError::Surrounded,
            false => VerifyTextError::NotSigned,
        })?;
    if holds_another(body) {
        return Err(VerifyTextError::Several);
    }
    let (hash, body) = split_header(body).ok_or(VerifyTextError::Malformed)?;
    let (text, rest) = split_text(body).ok_or(VerifyTextError::Malformed)?;
    let end = rest
        .find(&format!("\n{END}"))
        .map(|at| at + 1 + END.len())
        .ok_or(VerifyTextError::Malformed)?;
    let (armored, behind) = rest.split_at(end);
    if behind.contains(|c| c != '\n') {
        return Err(VerifyTextError::Surrounded);
    }
    let signature = dearmor(armored).map_err(|_| VerifyTextError::Malformed)?;
    Ok(Parts {
        text,
        hash,
        signature,
    })
}

/// The hash algorithm, and what is behind the empty line that ends the header. No other header is
/// allowed (section 7.1): a reader would take it for something that was signed.
fn split_header(body: &str) -> Option<(Option<String>, &str)> {
    let Some(named) = body.strip_prefix("Hash: ") else {
        return Some((None, body.strip_prefix('\n')?));
    };
    let (hash, body) = named.split_once("\n\n")?;
    Some((Some(hash.to_owned()), body))
}

/// The text, and the rest from the armor of the signature on.
fn split_text(body: &str) -> Option<(String, &str)> {
    let mut lines = Vec::new();
    let mut rest = body;
    loop {
        let (line, behind) = rest.split_once('\n')?;
        if line == SIGNATURE {
            break;
        }
        let line = match line.strip_prefix(ESCAPE) {
            Some(line) if is_escaped(line) => line,
            _ if line.starts_with('-') => return None,
            _ => line,
        };
        lines.push(line);
        rest = behind;
    }
    let text = lines.join("\n");
    (!lines.is_empty() && is_signable(&text)).then_some((text, rest))
}
