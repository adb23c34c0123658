//! Files of variables, as `.env` files have them: what is understood of them, and how they are written.
//!
//! A line is `NAME=value`, with `export ` before it or not, empty, or a comment from `#` on. A value is
//! bare, up to ` #` or the line's end; in single quotes, all of it as it stands; or in double quotes,
//! where `\n`, `\r`, `\t`, `\\`, `\"`, `\$` and `` \` `` are what they usually are. Quoted ones may go over
//! several lines. Nothing is expanded: `${OTHER}` is those characters.

use crate::secret_text::SecretText;
use zeroize::Zeroizing;

/// A variable of a file.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it stands, from 1 on.
    pub(crate) line: usize,
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: SecretText,
    /// Whether other programs would put something in place of a part of it.
    pub(crate) expandable: bool,
}

/// What is wrong with a line. It quotes nothing of the file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {what}")]
pub(crate) struct Misread {
    line: usize,
    what: &'static str,
}

/// Reads a file.
///
/// # Errors
/// At the first line that is none of the above.
pub(crate) fn read(text: &str) -> Result<Vec<Entry>, Misread> {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
    };
    let mut entries = Vec::new();
    while !reader.rest.is_empty() {
        if let Some(entry) = reader.entry()? {
            entries.push(entry);
        }
    }
    Ok(entries)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    /// Takes one line, or as many as a quoted value has.
    fn entry(&mut self) -> Result<Option<Entry>, Misread> {
        self.blanks();
        if self.end_of_line()? {
            return Ok(None);
        }
        let line = self.line;
        let mut name = self.word();
        if name == "export" && self.rest.starts_with([' ', '\t']) {
            self.blanks();
            name = self.word();
        }
        if name.is_empty() || name.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '_') {
            return Err(self.misread("does not begin with a variable's name"));
        }
        self.blanks();
        let Some(rest) = self.rest.strip_prefix('=') else {
            return Err(self.misread("has no = behind the name"));
        };
        self.rest = rest;
        self.blanks();
        let (mut value, literal) = match self.rest.chars().next() {
            Some('\'') => (self.single_quoted()?, true),
            Some('"') => (self.double_quoted()?, false),
            _ => (self.bare(), false),
        };
        let expandable = !literal && value.contains("${");
        self.blanks();
        if !self.end_of_line()? {
            return Err(self.misread("goes on behind the closing quote"));
        }
        Ok(Some(Entry {
            line,
            name: name.to_owned(),
            value: SecretText::new(std::mem::take(&mut *value)),
            expandable,
        }))
    }

    fn misread(&self, what: &'static str) -> Misread {
        Misread {
            line: self.line,
            what,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn word(&mut self) -> &'t str {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let end = self.rest.find(|c| !inner(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Takes the end of the line, with a comment before it or none.
    fn end_of_line(&mut self) -> Result<bool, Misread> {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let text = line.strip_suffix('\r').unwrap_or(line);
        if !text.is_empty() && !text.starts_with('#') {
            return Ok(false);
        }
        self.rest = self.rest.get(line.len() + 1..).unwrap_or_default();
        self.line += 1;
        Ok(true)
    }

    fn bare(&mut self) -> Zeroizing<String> {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|&at| at == 0 || line[..at].ends_with([' ', '\t']));
        let text = &line[..comment.unwrap_or(line.len())];
        self.rest = &self.rest[text.len()..];
        // The blanks at its end, and the carriage return, belong to the line.
        let value = text.trim_end_matches([' ', '\t', '\r']);
        if comment.is_none() {
            self.rest = self.rest.trim_start_matches('\r');
        }
        Zeroizing::new(value.to_owned())
    }

    fn single_quoted(&mut self) -> Result<Zeroizing<String>, Misread> {
        let inner = &self.rest[1..];
        let Some(end) = inner.find('\'') else {
            return Err(self.misread("has a single quote that is not closed"));
        };
        let value = &inner[..end];
        self.line += value.matches('\n').count();
        self.rest = &inner[end + 1..];
        Ok(Zeroizing::new(value.to_owned()))
    }

    fn double_quoted(&mut self) -> Result<Zeroizing<String>, Misread> {
        // No value is longer than what is left of the file.
        let mut value = Zeroizing::new(String::with_capacity(self.rest.len()));
        let mut inner = self.rest[1..].char_indices();
        while let Some((at, c)) = inner.next() {
            match c {
                '"' => {
                    let taken = &self.rest[..at + 1];
                    self.line += taken.matches('\n').count();
                    self.rest = &self.rest[at + 2..];
                    return Ok(value);
                }
                '\\' => match inner.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some(escaped @ ('\\' | '"' | '$' | '`')) => value.push(escaped),
                    Some(other) => {
                        value.push('\\');
                        value.push(other);
                    }
                    None => break,
                },
                _ => value.push(c),
            }
        }
        Err(self.misread("has a double quote that is not closed"))
    }
}

/// Appends a line that this module and a POSIX shell read alike. `out` must have room for seven times
/// the value, or leaves copies behind.
pub(crate) fn write(out: &mut Zeroizing<Vec<u8>>, variable: &str, value: &str) {
    out.extend_from_slice(variable.as_bytes());
    out.push(b'=');
    if !value.contains('\'') {
        out.push(b'\'');
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"'\n");
        return;
    }
    out.push(b'"');
    for byte in value.bytes() {
        if matches!(byte, b'\\' | b'"' | b'$' | b'`') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.extend_from_slice(b"\"\n");
}

#[cfg(test)]
mod tests;
