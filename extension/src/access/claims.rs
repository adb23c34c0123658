//! Subjects that a trusted login vouches for: the companion, which has verified a JWT, and PostgREST,
//! which has put the claims of one into a setting.

use crate::access::identity::{self, Caller, Request};
use crate::access::names::check_identifier;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::backend::setting;
use crate::error::{Error, Result};
use serde_json::Value;
use zeroize::Zeroizing;

/// The longest claims or headers that are read, in bytes.
const LONGEST: usize = 64 << 10;

/// authenticate_subject: makes a subject the caller until the transaction ends, on the word of a
/// trusted login alone.
pub(crate) fn authenticate_subject<'s>(
    _session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_trusted(caller)?;
    if !caller.is_trusted_itself() {
        return Err(Error::forbidden(
            "only the trusted login itself may say who calls, and no client that it logged in for",
        )
        .with_hint(
            "It does so without SET ROLE, in a session that never had request.jwt.claims and never called control_plane.pre_request().",
        ));
    }
    let subject = arguments.required_text(0, "subject")?;
    check_identifier("subject", &subject)?;
    let request = Request::read(arguments.json(1)?.as_ref());
    identity::authenticate(&subject, None, request)?;
    Ok(Answer::Text(Zeroizing::new(subject)))
}

/// pre_request: what PostgREST calls before anything else of a request (its setting db-pre-request).
/// The subject of `request.jwt.claims` becomes the caller until the transaction ends; what the settings
/// say later changes nothing. Without a subject, as with the key of a Supabase project, the caller is
/// nobody, and the functions that ask for one refuse.
pub(crate) fn pre_request<'s>(
    _session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_trusted(caller)?;
    if !identity::take_claims() {
        return Ok(Answer::Void);
    }
    let request = Request {
        id: request_id(),
        ..Request::default()
    };
    if let Some(subject) = subject()? {
        identity::authenticate(&subject, None, request)?;
    }
    Ok(Answer::Void)
}

fn require_trusted(caller: &Caller) -> Result<()> {
    if caller.trusted {
        return Ok(());
    }
    Err(
        Error::forbidden("this login may not say who calls").with_hint(
            "Only logins listed in pg_secrets.trusted_logins do; others have the grants of their role.",
        ),
    )
}

/// The subject of the claims that PostgREST has verified.
fn subject() -> Result<Option<String>> {
    let not_valid = || Error::unauthenticated("the claims in request.jwt.claims are not valid");
    let Some(claims) = setting::of(c"request.jwt.claims").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if claims.len() > LONGEST {
        return Err(not_valid());
    }
    let claims: Value = serde_json::from_str(&claims).map_err(|_| not_valid())?;
    let Value::Object(claims) = claims else {
        return Err(not_valid());
    };
    match claims.get("sub") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(subject)) => {
            check_identifier("sub", subject).map_err(|_| {
                not_valid()
                    .with_hint("Its sub is no subject: 1 to 255 characters, no control characters.")
            })?;
            Ok(Some(subject.clone()))
        }
        Some(_) => Err(not_valid()),
    }
}

/// What the client calls its request, for the record: nothing follows from it.
fn request_id() -> Option<String> {
    let headers = setting::of(c"request.headers").filter(|text| text.len() <= LONGEST)?;
    let headers: Value = serde_json::from_str(&headers).ok()?;
    let described = serde_json::json!({"request_id": headers.get("x-request-id")?});
    Request::read(Some(&described)).id
}
