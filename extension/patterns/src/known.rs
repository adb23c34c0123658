//! Texts that are secrets by their own looks: keys and messages in ASCII armor, web tokens, the tokens
//! of large services, passwords in addresses, and our own tokens and signing secrets.

/// What a secret is overwritten with.
pub const MASK: u8 = b'*';

/// Prefixes of tokens, and how many characters of a token must follow for it to be one.
const TOKENS: &[(&[u8], usize)] = &[
    (b"pgs_", 16),
    (b"whsec_", 16),
    // Web tokens in JSON: `{"` in base64.
    (b"eyJ", 10),
    // Amazon Web Services
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"AROA", 16),
    (b"AIDA", 16),
    (b"ABIA", 16),
    (b"ACCA", 16),
    // Google
    (b"AIza", 30),
    (b"ya29.", 16),
    (b"GOCSPX-", 16),
    // Microsoft: the middle of a client secret is fixed, its beginning is not.
    (b"7Q~", 28),
    (b"8Q~", 28),
    // GitHub, GitLab
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghu_", 20),
    (b"ghs_", 20),
    (b"ghr_", 20),
    (b"github_pat_", 20),
    (b"glpat-", 16),
    // Others
    (b"xoxb-", 10),
    (b"xoxa-", 10),
    (b"xoxp-", 10),
    (b"xoxr-", 10),
    (b"xoxs-", 10),
    (b"xapp-", 10),
    (b"sk_live_", 10),
    (b"sk_test_", 10),
    (b"rk_live_", 10),
    (b"rk_test_", 10),
    (b"sk-ant-", 16),
    (b"sk-proj-", 16),
    (b"hvs.", 16),
    (b"hvb.", 16),
    (b"dop_v1_", 16),
    (b"npm_", 30),
    (b"pypi-", 30),
    (b"hf_", 30),
    (b"SG.", 20),
];

/// What stands before a secret, in any case; the secret goes to the next character that ends it.
const LABELS: &[&[u8]] = &[
    b"bearer ",
    b"password=",
    b"passwd=",
    b"pwd=",
    b"passphrase=",
    b"secret_access_key=",
    b"aws_secret_access_key=",
    b"accountkey=",
    b"sharedaccesskey=",
    b"client_secret=",
    b"access_token=",
    b"api_key=",
    b"&sig=",
    b"?sig=",
];

const ARMOR: &[u8] = b"-----BEGIN ";
const ARMOR_END: &[u8] = b"-----END ";

/// Which two bytes a token or a label can begin with, a bit for each pair: nearly everything in a text is none
/// of them, and is passed by without comparing it with all that there are.
static BEGINNINGS: [u64; 1024] = beginnings();

const fn beginnings() -> [u64; 1024] {
    const fn add(pairs: &mut [u64; 1024], first: u8, second: u8) {
        let pair = first as usize * 256 + second as usize;
        pairs[pair / 64] |= 1 << (pair % 64);
    }
    let mut pairs = [0; 1024];
    let mut at = 0;
    while at < TOKENS.len() {
        add(&mut pairs, TOKENS[at].0[0], TOKENS[at].0[1]);
        at += 1;
    }
    at = 0;
    while at < LABELS.len() {
        let (first, second) = (LABELS[at][0], LABELS[at][1]);
        add(&mut pairs, first, second);
        add(&mut pairs, first, second.to_ascii_uppercase());
        add(&mut pairs, first.to_ascii_uppercase(), second);
        add(
            &mut pairs,
            first.to_ascii_uppercase(),
            second.to_ascii_uppercase(),
        );
        at += 1;
    }
    add(&mut pairs, ARMOR[0], ARMOR[1]);
    pairs
}

/// Whether a secret may be told by what stands at `at`.
fn may_tell(text: &[u8], at: usize) -> bool {
    let first = usize::from(text[at]);
    let pair = |second: &u8| first * 256 + usize::from(*second);
    text[at] == b':'
        || text
            .get(at + 1)
            .map(pair)
            .is_some_and(|pair| BEGINNINGS[pair / 64] >> (pair % 64) & 1 == 1)
}

/// Overwrites every such text with [`MASK`], at the same length; the ends of lines stay. Answers whether there was one.
pub fn mask_known(text: &mut [u8]) -> bool {
    let mut found = false;
    let mut at = 0;
    while at < text.len() {
        match may_tell(text, at).then(|| secret_at(text, at)).flatten() {
            Some((from, to)) if to > from => {
                let kept = |byte: &u8| matches!(byte, b'\n' | b'\r');
                let lines = text[from..to].iter_mut().filter(|byte| !kept(byte));
                lines.for_each(|byte| *byte = MASK);
                found = true;
                at = to;
            }
            _ => at += 1,
        }
    }
    found
}

/// The secret that is told by what stands at `at`, as a range.
fn secret_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = &text[at..];
    match rest[0] {
        b'-' => armor(rest).map(|(from, to)| (at + from, at + to)),
        b':' => password(text, at),
        // Inside of a word; what Microsoft's have in their middle is looked for there too.
        byte if at > 0
            && is_token(byte)
            && is_token(text[at - 1])
            && !matches!(byte, b'7' | b'8') =>
        {
            None
        }
        _ => token(rest)
            .or_else(|| labelled(rest))
            .map(|(from, to)| (at + from, at + to)),
    }
}

/// What characters tokens are made of. No `.`: it ends sentences too.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn token(rest: &[u8]) -> Option<(usize, usize)> {
    let (prefix, least) = TOKENS.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let more = rest[prefix.len()..]
        .iter()
        .take_while(|byte| is_token(**byte) || matches!(byte, b'.' | b'+' | b'/' | b'=' | b'~'))
        .count();
    (more >= *least).then_some((prefix.len(), prefix.len() + more))
}

fn labelled(rest: &[u8]) -> Option<(usize, usize)> {
    let label = LABELS.iter().find(|label| {
        rest.len() > label.len() && rest[..label.len()].eq_ignore_ascii_case(label)
    })?;
    let quote = rest
        .get(label.len())
        .copied()
        .filter(|byte| matches!(byte, b'\'' | b'"'));
    let from = label.len() + usize::from(quote.is_some());
    let ends = |byte: &u8| match quote {
        Some(quote) => *byte == quote,
        None => {
            byte.is_ascii_whitespace() || matches!(byte, b'&' | b';' | b',' | b'\'' | b'"' | b')')
        }
    };
    let length = rest[from..]
        .iter()
        .position(ends)
        .unwrap_or(rest.len() - from);
    Some((from, from + length))
}

/// The longest user, and the longest password with its host, that is looked for in an address, in bytes.
const LONGEST_USER: usize = 256;
const LONGEST_REST: usize = 1024;

/// The password of an address `scheme://user:password@host`, told by the colon before it.
fn password(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let ends =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'\'' | b'"' | b'<' | b'>');
    let user = text[..at]
        .iter()
        .rev()
        .take(LONGEST_USER)
        .take_while(|byte| !ends(byte))
        .count();
    let begins = at - user;
    if user > 0 && text[begins..at].contains(&b':') || !text[..begins].ends_with(b"://") {
        return None;
    }
    let rest = &text[at + 1..];
    let rest = &rest[..rest.len().min(LONGEST_REST)];
    // A password may hold a slash or an at sign although it should not: the last one before a space ends it.
    let address = rest
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b'<' | b'>'))
        .unwrap_or(rest.len());
    let length = rest[..address].iter().rposition(|byte| *byte == b'@')?;
    Some((at + 1, at + 1 + length))
}

/// A private key or anything of OpenPGP between its first and its last line; to the end of the text
/// where the last line is missing.
fn armor(rest: &[u8]) -> Option<(usize, usize)> {
    let behind = rest.strip_prefix(ARMOR)?;
    let title = behind
        .windows(5)
        .take(40)
        .position(|piece| piece == b"-----")?;
    let kind = &behind[..title];
    let secret = kind.starts_with(b"PGP ") || kind.windows(11).any(|piece| piece == b"PRIVATE KEY");
    if !secret {
        return None;
    }
    let from = ARMOR.len() + title + 5;
    let end = rest[from..]
        .windows(ARMOR_END.len())
        .position(|piece| piece == ARMOR_END);
    Some((from, end.map_or(rest.len(), |length| from + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let found = mask_known(&mut bytes);
        assert_eq!(found, bytes != text.as_bytes());
        assert_eq!(bytes.len(), text.len());
        String::from_utf8(bytes).unwrap()
    }

    /// Two halves, so that no scanner takes this file for a leak.
    fn joined(prefix: &str, length: usize) -> String {
        format!(
            "{prefix}{}",
            &"Zq7Xk2Vb9Wm4Rt6Yp1Ls8Nd3Jf5Hg0Ca".repeat(3)[..length]
        )
    }

    #[test]
    fn tokens_of_every_kind_are_masked_behind_their_prefix() {
        for (prefix, least) in TOKENS {
            let prefix = std::str::from_utf8(prefix).unwrap();
            let length = (*least).max(20);
            for around in [
                ("", ""),
                ("token ", " was"),
                ("'", "'"),
                ("=", "\n"),
                ("(", ")"),
            ] {
                let text = format!("{}{}{}", around.0, joined(prefix, length), around.1);
                let expected = format!("{}{prefix}{}{}", around.0, "*".repeat(length), around.1);
                assert_eq!(masked(&text), expected);
            }
        }
    }

    #[test]
    fn labels_are_known_in_any_case() {
        for label in LABELS {
            let label = std::str::from_utf8(label).unwrap();
            let mut mixed = label.to_owned();
            mixed[1..2].make_ascii_uppercase();
            for label in [label, &label.to_uppercase(), &mixed] {
                let text = format!("x {label}hunter2 y");
                assert_eq!(masked(&text), format!("x {label}******* y"));
            }
        }
    }

    #[test]
    fn keys_tokens_and_passwords_are_masked_and_what_is_around_them_stays() {
        let key = joined("", 64);
        for (text, hidden) in [
            (
                format!("-----BEGIN PGP MESSAGE-----\n\n{key}\n-----END PGP MESSAGE----- x"),
                key.as_str(),
            ),
            (
                format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\\n{key}"),
                &key,
            ),
            (
                format!("-----BEGIN RSA PRIVATE KEY-----\n{key}\n-----END RSA PRIVATE KEY-----"),
                &key,
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----{key}-----END PRIVATE KEY-----"),
                &key,
            ),
            (format!("-----BEGIN OPENSSH PRIVATE KEY-----{key}"), &key),
            (format!("jwt eyJhbGciOiJIUzI1NiJ9.{key}.abc ends"), &key),
            ("postgres://app:hunter2@db/x".to_owned(), "hunter2"),
            (
                "https://app:hun/ter@2@db/x and more".to_owned(),
                "hun/ter@2",
            ),
            ("host=db password=hunter2 user=app".to_owned(), "hunter2"),
            (
                "host=db PASSWORD='hunter 2' user=app".to_owned(),
                "hunter 2",
            ),
            (format!("aws_secret_access_key={key};"), &key),
            (format!("Authorization: Bearer {key}"), &key),
            (format!("https://a.blob/x?sv=1&sig={key}&se=2"), &key),
        ] {
            assert!(text.contains(hidden));
            let shown = masked(&text);
            assert!(!shown.contains(hidden), "{shown}");
            let (_, behind) = text.split_once(hidden).unwrap();
            assert!(
                shown.ends_with(behind.trim_start_matches(".abc")),
                "{shown}"
            );
        }
        assert_eq!(
            masked("postgres://app:hunter2@db/x"),
            "postgres://app:*******@db/x"
        );
        assert_eq!(masked("password='a b' x"), "password='***' x");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "-",
            ":",
            "https://example.com:8080/path",
            "postgres://app@db:5432/x",
            "a pgs_short and whsec_no",
            "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
            "listening on 127.0.0.1:8484",
            "my_pgs_0123456789abcdef0123456789",
            "time 10:20@noon",
            "a sketchy hf_ of npm_",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
