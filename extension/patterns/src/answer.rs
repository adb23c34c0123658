//! What is masked in the answer of a webhook's receiver before it is kept: it may hold what the receiver
//! should not have said, such as its own credentials or what it has just read.

/// What stands in place of something masked.
const MASK: &str = "***";

/// A run of letters, digits and `+_-` of this length that mixes letters and digits is masked: keys,
/// tokens and passwords look like that.
const SUSPICIOUS_LENGTH: usize = 16;

/// Names of fields whose values are masked, whatever they look like.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "credential",
    "key",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "token",
    "value",
];

/// Words behind which a credential follows.
const SCHEMES: &[&str] = &["basic", "bearer"];

/// The text with everything masked that may be a secret, and without control characters but line ends
/// and tabs. A uuid stays: receivers name their requests by them.
pub fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    // Whether the value of a field that is named like a secret comes next.
    let mut value_follows = false;
    while let Some(first) = rest.chars().next() {
        let length = run_length(rest);
        if length == 0 {
            let one = first.len_utf8();
            if value_follows && ends_value(first) {
                value_follows = false;
            }
            if !first.is_control() || matches!(first, '\n' | '\t') {
                masked.push(first);
            }
            rest = &rest[one..];
            continue;
        }
        let (run, behind) = rest.split_at(length);
        if value_follows || is_suspicious(run) {
            masked.push_str(MASK);
            // A scheme is no credential: that comes behind it. What is quoted ends with its quote.
            value_follows = value_follows && !behind.starts_with(['"', '\'']);
        } else {
            masked.push_str(run);
        }
        value_follows |= is_one_of(run, SCHEMES) || (names_secret(run) && assigns(behind));
        rest = behind;
    }
    masked
}

/// How many bytes of the beginning may belong to one key, token or name.
fn run_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '+' | '/' | '_' | '-' | '.')))
        .unwrap_or(text.len())
}

fn is_suspicious(run: &str) -> bool {
    // A path or a host is words with something between; a key is not.
    run.split(['/', '.']).any(|part| {
        part.len() >= SUSPICIOUS_LENGTH
            && part.contains(|c: char| c.is_ascii_digit())
            && part.contains(char::is_alphabetic)
            && !is_uuid(part)
    }) || is_long_base64(run)
}

/// Base64 holds `/` and `+` as well, and then has no long part without one.
fn is_long_base64(run: &str) -> bool {
    run.len() >= 2 * SUSPICIOUS_LENGTH
        && !is_uuid(run)
        && run.contains(|c: char| c.is_ascii_digit())
        && run.contains(|c: char| c.is_ascii_uppercase())
        && run.contains(|c: char| c.is_ascii_lowercase())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_one_of(run: &str, words: &[&str]) -> bool {
    words.iter().any(|word| run.eq_ignore_ascii_case(word))
}

fn names_secret(run: &str) -> bool {
    let lower = run.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| lower.ends_with(name))
}

/// Whether a value follows: `name=`, `name: `, `"name":`.
fn assigns(behind: &str) -> bool {
    let behind = behind.trim_start_matches(['"', '\'', ' ']);
    behind.starts_with([':', '='])
}

fn ends_value(c: char) -> bool {
    matches!(c, ',' | ';' | '&' | '}' | ']' | '<' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_masked() {
        for (text, secret) in [
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKY"),
            ("pgs_0192aaBBcc0011dd22ee33ff", "0192aaBB"),
            (r#"{"password": "hunter2"}"#, "hunter2"),
            (r#"{"db_password":"a b c"}"#, "a b"),
            ("password=hunter2&user=me", "hunter2"),
            ("PASSWORD: hunter2", "hunter2"),
            ("Authorization: Bearer hunter2", "hunter2"),
            ("bearer hunter2", "hunter2"),
            ("Basic aHVudGVyMg==", "aHVudGVyMg"),
            ("key sk_live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39"),
            (
                "x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmN y",
                "dozjg",
            ),
            ("AKIAIOSFODNN7EXAMPLE", "EXAMPLE"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
            (r#"{"api_key":12345678}"#, "12345678"),
            (r#"{"value":"s3cr3t"}"#, "s3cr3t"),
        ] {
            let masked = mask(text);
            assert!(!masked.contains(secret), "{text}: {masked}");
            assert!(masked.contains(MASK), "{text}: {masked}");
        }
    }

    #[test]
    fn what_helps_to_find_a_fault_stays() {
        for text in [
            "",
            "ok",
            r#"{"error":"no such order","request":"01910f2c-6d0a-7c3e-9a55-3c1f8c2f6a11"}"#,
            "<html><body>502 Bad Gateway, nginx/1.25.3</body></html>",
            "service unavailable, try again in 30 s\n",
            "Zeitüberschreitung beim Speichern",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn control_characters_go() {
        assert_eq!(mask("a\u{0}b\u{1b}[31m\r\nc\td"), "ab[31m\nc\td");
    }
}
