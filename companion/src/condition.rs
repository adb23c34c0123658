//! The headers If-None-Match and If-Match (RFC 9110, sections 13.1.1 and 13.1.2). The entity tag of a version
//! is its id: a version's value never changes, and an id is never used twice.

use crate::error::Error;
use axum::extract::FromRequestParts;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use uuid::Uuid;

/// The most tags that are looked at.
const MOST_TAGS: usize = 100;

/// What a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`
    Any,
    /// The versions among its tags; others name nothing of ours.
    These(Vec<Uuid>),
}

/// If-None-Match: the versions that the client has.
#[derive(Debug)]
pub(crate) struct IfNoneMatch(Option<Tags>);

impl IfNoneMatch {
    /// The versions that the client has: `Some(None)` stands for any, `None` for no condition, or one that
    /// nothing meets.
    pub(crate) fn known(&self) -> Option<Option<&[Uuid]>> {
        match &self.0 {
            None => None,
            Some(Tags::Any) => Some(None),
            Some(Tags::These(ids)) if ids.is_empty() => None,
            Some(Tags::These(ids)) => Some(Some(ids)),
        }
    }
}

/// If-Match: the version that must be current.
#[derive(Debug)]
pub(crate) struct IfMatch(Option<Tags>);

impl IfMatch {
    /// Whether there is a condition.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the condition allows `id` to be the current version.
    pub(crate) fn allows(&self, id: Uuid) -> bool {
        match &self.0 {
            None | Some(Tags::Any) => true,
            Some(Tags::These(ids)) => ids.contains(&id),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        tags(&parts.headers, &IF_NONE_MATCH, true).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        tags(&parts.headers, &IF_MATCH, false).map(Self)
    }
}

/// The tags of a header, weak ones (`W/"…"`) only where they count.
fn tags(headers: &HeaderMap, name: &HeaderName, weak: bool) -> Result<Option<Tags>, Error> {
    let refused = || {
        Error::bad_request("If-Match and If-None-Match take * or entity tags with commas between")
    };
    let mut ids = Vec::new();
    let mut present = false;
    let mut seen = 0;
    for line in headers.get_all(name) {
        present = true;
        let line = line.to_str().map_err(|_| refused())?.trim();
        if line == "*" {
            return Ok(Some(Tags::Any));
        }
        for tag in line.split(',').map(str::trim) {
            seen += 1;
            let (is_weak, quoted) = match tag.strip_prefix("W/") {
                Some(rest) => (true, rest),
                None => (false, tag),
            };
            let text = quoted
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'));
            let text = text.filter(|_| seen <= MOST_TAGS).ok_or_else(refused)?;
            if let (Ok(id), true) = (Uuid::try_parse(text), weak || !is_weak) {
                ids.push(id);
            }
        }
    }
    Ok(present.then_some(Tags::These(ids)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-7000-8000-000000000001";

    fn of(lines: &[&str], weak: bool) -> Result<Option<Tags>, Error> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, line.parse().unwrap());
        }
        tags(&headers, &IF_MATCH, weak)
    }

    #[test]
    fn tags_are_ids_in_quotes() {
        let id = Uuid::parse_str(ID).unwrap();
        let quoted = format!("\"{ID}\"");
        let one = Some(Tags::These(vec![id]));
        assert_eq!(of(&[], true).unwrap(), None);
        assert_eq!(of(&["*"], true).unwrap(), Some(Tags::Any));
        assert_eq!(of(&[&quoted], true).unwrap(), one);
        assert_eq!(of(&[&format!("\"x\" , {quoted}")], true).unwrap(), one);
        assert_eq!(of(&["\"x\"", &quoted], true).unwrap(), one);
        assert_eq!(of(&[&format!("W/{quoted}")], true).unwrap(), one);
        assert_eq!(
            of(&[&format!("W/{quoted}")], false).unwrap(),
            Some(Tags::These(vec![]))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let many = vec!["\"x\""; MOST_TAGS + 1].join(",");
        for line in [ID, "\"", "", "\"x\",", "x", "**", &many] {
            assert!(of(&[line], true).is_err(), "{line}");
        }
    }
}
