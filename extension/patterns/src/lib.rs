//! What pg_secrets masks: which statements may hold a secret, what of a statement is a literal, which
//! texts are secrets by their own looks, and what in a receiver's answer may be one. Shared by the
//! extension and the companion; nothing but `answer` allocates, so that the rest can run where a
//! process is about to fail.

pub mod answer;
mod bytes;
mod disguise;
mod known;
mod literals;
mod misspelt;
mod names;
mod prepared;
mod transaction_end;

pub use known::{MASK, mask_known};
pub use literals::mask_literals;
pub use names::{is_sensitive_statement, mentions};
pub use prepared::{LONGEST_NAME, PreparedNames, executes_escaped_name};
pub use transaction_end::ends_transaction;

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of a megabyte that were made to be slow. Were one of them looked at for each of its bytes, this
    /// would take hours.
    #[test]
    fn no_text_costs_more_than_its_length() {
        for piece in [
            "uescape '\\'",
            "authenticate/*",
            "execute/*",
            "crate_secret/*",
            "array[1::int8::int4] ",
            "a://b:c",
            "-----BEGIN PGP ",
            "password='",
            "$a",
            "execute U&",
            "/*",
        ] {
            let mut text = piece.repeat((1 << 20) / piece.len()).into_bytes();
            let _ = is_sensitive_statement(&text);
            let _ = executes_escaped_name(&text);
            assert!(PreparedNames::of(&text).count() < text.len());
            mask_literals(&mut text.clone());
            mask_known(&mut text);
        }
    }
}
