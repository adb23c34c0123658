//! What an endpoint may be.

use crate::error::{Error, Result};
use crate::outbox::event;

/// The longest URL, in characters.
const LONGEST_URL: usize = 2000;

/// Checks a URL that a relay may try: http or https, with a host, without a login in it. Which addresses
/// it may lead to is for the relay to check when it connects, since names change their addresses.
pub(super) fn url(given: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::bad_input(format!("url {why}")));
    if given.chars().count() > LONGEST_URL {
        return refuse("must have at most 2000 characters");
    }
    if given.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse("must not hold spaces or control characters");
    }
    let Some(rest) = given
        .strip_prefix("https://")
        .or_else(|| given.strip_prefix("http://"))
    else {
        return refuse("must begin with https:// or http://");
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or("");
    if authority.is_empty() {
        return refuse("must name a host");
    }
    if authority.contains('@') {
        return refuse("must not hold a user name or password");
    }
    Ok(())
}

/// Checks that events of these kinds exist; none at all would be an endpoint that is told of nothing.
pub(super) fn kinds(given: Option<&[String]>) -> Result<()> {
    let Some(kinds) = given else {
        return Ok(());
    };
    if kinds.is_empty() {
        return Err(Error::bad_input("event_types must not be empty")
            .with_hint("Leave it out to be told of every event."));
    }
    if kinds
        .iter()
        .any(|kind| !event::KINDS.contains(&kind.as_str()))
    {
        return Err(
            Error::bad_input("event_types names an event that does not exist")
                .with_hint(format!("The events are: {}.", event::KINDS.join(", "))),
        );
    }
    Ok(())
}
