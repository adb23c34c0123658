//! How long sequoia-openpgp makes its read buffers. It takes 32 kB for each and a dozen of them for
//! one message, all of which is erased after use; a value is a hundred times shorter as a rule.
#![allow(unsafe_code)]

/// What buffered-reader, the crate below it, looks at once, before it reads for the first time.
const VARIABLE: &str = "SEQUOIA_BUFFERED_READER_BUFFER";

/// In bytes.
const LENGTH: &str = "4096";

/// Makes them shorter, unless somebody has chosen a length of his own. Called once, before the first
/// key is parsed. Where it has no effect, opening takes longer, and nothing else changes.
pub(crate) fn shorten() {
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the process has one thread while the library is loaded.
        unsafe { std::env::set_var(VARIABLE, LENGTH) };
    }
}
