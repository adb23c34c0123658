//! An error answer (problem+json, RFC 9457) as a person and a script get it.

use crate::client::failure::{Failure, Kind};
use crate::visible::visible;
use serde_json::{Map, Value};

/// What is shown of a server's own words, in characters.
const LONGEST: usize = 1000;

/// The failure that an answer with an error status means.
pub(crate) fn failure(status: u16, body: &[u8]) -> Failure {
    let kind = kind(status);
    let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let detail = text("detail").or_else(|| text("title"));
    let Some(detail) = detail.filter(|_| is_ours(&members)) else {
        return Failure::new(
            kind,
            format!("the server answered with status {status} and not as a companion does"),
        );
    };
    let mut said = shown(detail);
    if let Some(id) = text("request_id").filter(|_| status >= 500) {
        said = format!("{said} (request {})", shown(id));
    }
    let mut failure = Failure::new(kind, said).with_members(members);
    if let (Some(current), 409 | 410) = (failure.current_id(), status) {
        failure = failure.and(&format!("The current version is {current}"));
    }
    match status {
        401 => failure.and("Log in anew: pg-secrets login"),
        _ => failure,
    }
}

/// Whether a companion said it, and not something before it.
fn is_ours(members: &Map<String, Value>) -> bool {
    let kind = members.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.starts_with("urn:pg-secrets:problem:"))
}

fn kind(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        409 | 412 => Kind::Conflict,
        429 | 502 | 503 | 504 => Kind::Unreachable,
        _ => Kind::Failed,
    }
}

/// A server's words, visible and not too long.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(LONGEST).collect();
    visible(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_kind() {
        for (status, kind) in [
            (400, Kind::Failed),
            (401, Kind::Denied),
            (403, Kind::Denied),
            (404, Kind::NotFound),
            (409, Kind::Conflict),
            (410, Kind::NotFound),
            (500, Kind::Failed),
            (503, Kind::Unreachable),
        ] {
            let body = br#"{"type": "urn:pg-secrets:problem:x", "detail": "no"}"#;
            assert_eq!(failure(status, body).kind(), kind, "{status}");
            assert_eq!(failure(status, b"<html>").kind(), kind, "{status}");
        }
    }

    #[test]
    fn words_of_others_are_not_taken_for_ours_and_escapes_are_shown() {
        let foreign = failure(404, br#"{"detail": "from elsewhere"}"#);
        assert!(!foreign.text().contains("elsewhere"), "{}", foreign.text());
        let body = br#"{"type": "urn:pg-secrets:problem:x", "detail": "a\u001b[31m"}"#;
        assert_eq!(failure(404, body).text(), "a\\u{1b}[31m");
    }
}
