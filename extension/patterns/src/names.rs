//! The lexical match: which names make a statement sensitive.

use crate::bytes::{is_word, skip_space};
use crate::{disguise, misspelt};

/// Names whose appearance makes a statement sensitive, wherever it is: our schema, and our functions
/// that take or give values. In lower case.
const NAMES: &[&[u8]] = &[
    b"control_plane",
    b"create_secret",
    b"rotate_secret",
    GET,
    b"create_token",
    b"create_endpoint",
    b"update_endpoint",
    b"rotate_endpoint_secret",
    b"pgp_encrypt",
    b"pgp_decrypt",
];

/// The functions that read begin so, and go on in one of these ways.
const GET: &[u8] = b"get_secret";
const GETS: &[&[u8]] = &[b"s", b"_by_name", b"_version"];

/// What our tokens and signing secrets start with: at the beginning of a word, so that a table of
/// `jpgs_…` is none.
const PREFIXES: &[&[u8]] = &[b"pgs_", b"whsec_"];

/// So much of a token is none yet, in bytes behind its prefix.
const TOO_SHORT: usize = 8;

/// Names of ours that others use too, as Supabase in its role `authenticated` and anybody in a column: they
/// count where they are called.
const CALLED: &[&[u8]] = &[b"authenticate", b"token_id"];

/// Whether a statement's text may hold a secret. A lexical match, so that it also holds for text that
/// does not parse or was cut; letter case does not matter, nor do comments, quotes and Unicode escapes,
/// and a name that is nearly one of ours counts as well, since it is what somebody meant.
#[must_use]
pub fn is_sensitive_statement(text: &[u8]) -> bool {
    plainly(text) || disguise::names(text, NAMES) || misspelt::calls(text)
}

fn plainly(text: &[u8]) -> bool {
    (0..text.len()).any(|at| {
        let next = text.get(at + 1).map_or(0, |byte| byte | 0x20);
        let may_begin = matches!(
            (text[at] | 0x20, next),
            (b'c', b'o' | b'r')
                | (b'r', b'o')
                | (b'u', b'p')
                | (b'g', b'e')
                | (b'p', b'g')
                | (b'a', b'u')
                | (b'w', b'h')
                | (b't', b'o')
        );
        may_begin && (at == 0 || !goes_on(text[at - 1])) && begins_ours(text, at)
    })
}

fn begins_ours(text: &[u8], at: usize) -> bool {
    let rest = &text[at..];
    let is_get_or_other = || !begins_with(rest, GET) || is_get(&rest[GET.len()..]);
    NAMES.iter().any(|name| begins_with(rest, name)) && is_get_or_other()
        || CALLED.iter().any(|name| {
            begins_with(rest, name)
                && skip_space(text, at + name.len()).is_none_or(|at| text.get(at) == Some(&b'('))
        })
        || PREFIXES
            .iter()
            .any(|prefix| begins_with(rest, prefix) && is_token(&rest[prefix.len()..]))
}

/// Whether a byte makes one word with the name behind it. Digits and dollars may end a number or a
/// quote just as well, and what is not ASCII may be a space that somebody copied from a page.
fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether what stands behind [`GET`] makes it one of the functions that read; `get_secretary` is none.
fn is_get(behind: &[u8]) -> bool {
    let ends = |behind: &[u8]| {
        !behind
            .first()
            .copied()
            .is_some_and(|byte| goes_on(byte) || byte.is_ascii_digit())
    };
    ends(behind)
        || GETS
            .iter()
            .any(|rest| begins_with(behind, rest) && ends(&behind[rest.len()..]))
}

/// Whether it may be a token's random part: names that people give are shorter, or in small letters.
fn is_token(behind: &[u8]) -> bool {
    let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_+/".contains(byte);
    let length = behind.iter().take_while(is_letter).count();
    length >= TOO_SHORT
        && behind[..length]
            .iter()
            .any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Whether `name` stands in a text as a word of its own, however it is quoted or its letters are
/// written. An empty name stands nowhere.
#[must_use]
pub fn mentions(text: &[u8], name: &[u8]) -> bool {
    let Some(first) = name.first() else {
        return false;
    };
    let plain = (0..text.len()).any(|at| {
        text[at].eq_ignore_ascii_case(first)
            && begins_with(&text[at..], name)
            && (at == 0 || !is_word(text[at - 1]))
            && !text.get(at + name.len()).copied().is_some_and(is_word)
    });
    plain || disguise::names(text, &[name])
}

fn begins_with(text: &[u8], name: &[u8]) -> bool {
    text.len() >= name.len() && text[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_name_us_are_sensitive_in_any_case_and_disguise() {
        for text in [
            "select control_plane.create_secret('a', 'b', 'c')",
            "SELECT Control_Plane.Rotate_Secret($1, $2)",
            "select control_plane /* here */ . /**/ \"create_secret\" ('a')",
            "select get_secrets('a')",
            "select update_endpoint('a', 'https://hooks.example/token')",
            r#"select U&"\0075pdate_endpoint"('a')"#,
            "select rotate_endpoint_secret('a')",
            "select 'pgs_Zq7Xk2Vb9Wm4'",
            "pgs_Zq7Xk2Vb9Wm4",
            "select get_secret ('a')",
            "select get_secret_version($1, 2)",
            "select 1control_plane.f('a')",
            "select\u{a0}get_secret('a')",
            "do $$get_secrets$$",
            "select Authenticate ('abc')",
            "select authenticate --\n ('abc')",
            "select token_id ('abc')",
            "select creat_secret('a', 'b', 'c')",
            "select creat_secret /* oh */ ('a', 'b', 'c')",
            "select create_secert('a')",
            "select rotat_secret(a",
            "select gte_secret('a')",
            "select whsec_Zq7Xk2Vb9Wm4",
            "select CreateSecret('a', 'b', 'c')",
            "select controlplane.pgpencrypt('a')",
            r#"select U&"!0063reate_secret"('a') UESCAPE $$!$$"#,
            r#"select U&"!0063reate_secret"('a') uescape E'!'"#,
            r#"select U&"\0063ontrol_plan\0065".purge_secret('a')"#,
            r#"select u&"!0063ontrol!+00005fplane".purge_secret('a') "#,
            r#"select U&"!0063reate_secret"('a') UESCAPE '!'"#,
            r"do E'begin perform control\x5fplane.f(); end'",
            r"do E'begin perform control\137plane.f(); end'",
            r"do E'begin perform \u0063ontrol_plane.f(); end'",
        ] {
            let uescape = text.replace(r#"plane".purge_secret('a') "#, r#"plane" UESCAPE '!'"#);
            assert!(is_sensitive_statement(uescape.as_bytes()), "{text}");
        }
    }

    #[test]
    fn other_statements_are_not() {
        for text in [
            "",
            "select 1",
            "select control from plane",
            "update pgs set a = 1",
            "insert into jpgs_of_users values (1)",
            "select * from authenticated where x in (1)",
            "grant select on t to authenticated",
            "select token_id from used order by token_id",
            "insert into used (token_id) values (1)",
            "select delete_secrets_of_mine(1)",
            "select pgp_sym_encrypt('a', 'b'), pgp_pub_decrypt(c, d)",
            "select get_user_secret_by_key(1)",
            r"select E'\x63ontrol'",
            r#"select U&"\0063ontrol""#,
            "select get_section(1), create_sector(2)",
            "select get_secretary('a'), get_secret_at from budget_secrets where forget_secret('a')",
            "select * from k8s_control_plane_nodes, pgs_stats where 'pgs_version' = 'pgs_a'",
            "select unauthenticate (1)",
        ] {
            assert!(!is_sensitive_statement(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_cut_text_is_sensitive_as_long_as_a_name_is_whole() {
        let text = b"select control_plane.create_secret('a', 'b', 'c')";
        for end in 20..text.len() {
            assert!(is_sensitive_statement(&text[..end]));
        }
    }

    #[test]
    fn a_wrapper_is_mentioned_as_a_word_and_not_as_a_piece_of_one() {
        for text in [
            "select store_password('a')",
            "select app.Store_Password ('a')",
            r#"select "store_password"('a')"#,
            r#"select U&"store\005fpassword"('a')"#,
        ] {
            assert!(mentions(text.as_bytes(), b"store_password"), "{text}");
        }
        for text in [
            "select store_passwords('a')",
            "select restore_password('a')",
            "store",
        ] {
            assert!(!mentions(text.as_bytes(), b"store_password"), "{text}");
        }
        assert!(!mentions(b"select 1", b""));
    }
}
