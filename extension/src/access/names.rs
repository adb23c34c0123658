//! What people may call things. The tables hold the same rules for names; here they become errors
//! that say what is wrong.

use crate::error::{Error, Result};

/// The longest project, name or subject, in characters.
const LONGEST_IDENTIFIER: usize = 255;

/// The longest service name, in characters.
const LONGEST_SERVICE: usize = 50;

/// The longest reason of a change, in characters.
const LONGEST_REASON: usize = 1000;

/// Checks a project id, a secret's name or a subject: 1 to 255 characters, no control characters
/// or line separators, and not `.` or `..`, which no URL can hold as a segment.
pub(crate) fn check_identifier(what: &str, text: &str) -> Result<()> {
    check_text(what, text, LONGEST_IDENTIFIER)?;
    if matches!(text, "." | "..") {
        return Err(Error::bad_input(format!(
            "{what} must not be \".\" or \"..\""
        )));
    }
    Ok(())
}

/// Checks what names may begin with: 1 to 255 characters, no control characters.
pub(crate) fn check_prefix(text: &str) -> Result<()> {
    check_text("name_prefix", text, LONGEST_IDENTIFIER)
}

/// Checks a service's name: 1 to 50 characters, no control characters.
pub(crate) fn check_service(text: &str) -> Result<()> {
    check_text("service", text, LONGEST_SERVICE)
}

/// Checks a reason: at most 1000 characters.
pub(crate) fn check_reason(reason: Option<&str>) -> Result<()> {
    match reason {
        Some(text) if text.chars().count() > LONGEST_REASON => Err(Error::bad_input(format!(
            "reason must have at most {LONGEST_REASON} characters"
        ))),
        _ => Ok(()),
    }
}

fn check_text(what: &str, text: &str, longest: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::bad_input(format!("{what} must not be empty")));
    }
    if text.chars().count() > longest {
        return Err(Error::bad_input(format!(
            "{what} must have at most {longest} characters"
        )));
    }
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        return Err(Error::bad_input(format!(
            "{what} must not hold control characters"
        )));
    }
    Ok(())
}
