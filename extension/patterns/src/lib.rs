//! What pg_secrets masks: which statements may hold a secret, and what in an answer may be one.

pub mod answer;

/// Names whose appearance makes a statement sensitive: our schema, our functions that take or
/// give values, and what our tokens and signing secrets start with.
const SENSITIVE: &[&str] = &[
    "control_plane",
    "create_secret",
    "rotate_secret",
    "get_secret",
    "create_token",
    "create_endpoint",
    "pgp_encrypt",
    "pgp_decrypt",
    "pgs_",
    "whsec_",
];

/// A name of ours that others use too, as Supabase in its role `authenticated`: it counts where it is
/// called.
const CALLED: &str = "authenticate";

/// Whether a statement's text may hold a secret. A lexical match, so that it also holds for text
/// that does not parse or was cut; letter case does not matter. Allocates nothing.
pub fn is_sensitive_statement(text: &[u8]) -> bool {
    SENSITIVE.iter().any(|name| {
        text.windows(name.len())
            .any(|piece| piece.eq_ignore_ascii_case(name.as_bytes()))
    }) || calls(text, CALLED)
}

/// Whether `name` stands in `text` followed by an opening parenthesis.
fn calls(text: &[u8], name: &str) -> bool {
    text.windows(name.len()).enumerate().any(|(at, piece)| {
        let behind = text[at + name.len()..].trim_ascii_start();
        piece.eq_ignore_ascii_case(name.as_bytes()) && behind.first() == Some(&b'(')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_name_us_are_sensitive_in_any_case() {
        for text in [
            "select control_plane.create_secret('a', 'b', 'c')",
            "SELECT Control_Plane.Rotate_Secret($1, $2)",
            "select get_secrets('a')",
            "select 'pgs_abc'",
            "select Authenticate ('abc')",
            "select creat_secret('a', 'b', 'c') from control_plane.",
        ] {
            assert!(is_sensitive_statement(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn other_statements_are_not() {
        for text in [
            "",
            "select 1",
            "select control from plane",
            "update pgs set a = 1",
        ] {
            assert!(!is_sensitive_statement(text.as_bytes()), "{text}");
        }
    }
}
