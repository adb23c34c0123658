//! Looking for values where none may be, in every form that something might have written them in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::path::{Path, PathBuf};

/// What to look for.
#[derive(Debug)]
pub struct Needles {
    pattern: regex::bytes::Regex,
}

impl Needles {
    /// Values as they are, in base64 at each of its three alignments, in hexadecimal, and as the
    /// decimal bytes of debug_print_parse.
    ///
    /// # Errors
    /// Where there are too many.
    ///
    /// # Panics
    /// Where a value is too short for its base64 to be told from chance.
    pub fn of<'v>(values: impl IntoIterator<Item = &'v str>) -> anyhow::Result<Self> {
        let mut forms = Vec::new();
        for value in values {
            let bytes = value.as_bytes();
            assert!(bytes.len() >= 12, "a needle that could be chance");
            forms.push(escaped(bytes));
            for lead in 0..3 {
                forms.push(regex::escape(&base64_core(bytes, lead)));
            }
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            forms.push(format!("(?i:{hex})"));
            let decimals: Vec<String> = bytes.iter().map(u8::to_string).collect();
            forms.push(regex::escape(&decimals.join(" ")));
        }
        let pattern = regex::bytes::RegexBuilder::new(&forms.join("|"))
            .unicode(false)
            .size_limit(64 << 20)
            .build()?;
        Ok(Self { pattern })
    }

    /// Where one of them stands, with what is around it.
    #[must_use]
    pub fn find(&self, haystack: &[u8]) -> Option<String> {
        let found = self.pattern.find(haystack)?;
        let around = found.start().saturating_sub(60)..(found.end() + 60).min(haystack.len());
        Some(format!(
            "at {}: {}",
            found.start(),
            haystack[around].escape_ascii()
        ))
    }

    /// The files below `folder` in which one of them stands.
    #[must_use]
    pub fn find_below(&self, folder: &Path) -> Vec<String> {
        files_below(folder)
            .into_iter()
            .filter_map(|path| {
                // A file may vanish while one looks.
                let found = self.find(&std::fs::read(&path).ok()?)?;
                Some(format!("{} {found}", path.display()))
            })
            .collect()
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The characters of the base64 of a text that holds `bytes` behind `lead` others, which depend on
/// `bytes` alone.
fn base64_core(bytes: &[u8], lead: usize) -> String {
    let shifted: Vec<u8> = std::iter::repeat_n(0, lead)
        .chain(bytes.iter().copied())
        .collect();
    let encoded = STANDARD_NO_PAD.encode(&shifted);
    let from = (lead * 8).div_ceil(6);
    let to = shifted.len() * 8 / 6;
    encoded[from..to].to_owned()
}

/// Every file below a folder.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}
