//! Requests that may be sent again: the answer is kept in the transaction of what it answers, so that a
//! second request with the same key is told what the first one did, and does nothing.

use crate::access::identity::{Caller, RightsOf};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;
use serde_json::Value;

/// The longest key, in bytes.
const LONGEST_KEY: usize = 255;

/// The longest digest of a request, in bytes.
const LONGEST_DIGEST: usize = 64;

/// Members of an answer that hold what must not be stored.
const SECRETS: [&str; 4] = ["value", "secret", "token", "values"];

// A few with every new one, so that as many go as come; what another request is at is left alone.
static FORGET: Statement = Statement::new(
    c"DELETE FROM control_plane.kept_answers AS k USING (SELECT o.subject, o.key FROM control_plane.kept_answers AS o WHERE o.created_at < pg_catalog.clock_timestamp() - '1 day'::interval ORDER BY o.created_at LIMIT 8 FOR UPDATE SKIP LOCKED) AS old WHERE k.subject = old.subject AND k.key = old.key",
);

// Whoever comes second waits here for the end of the first one's transaction.
static BEGIN: Statement = Statement::new(
    c"INSERT INTO control_plane.kept_answers AS k (subject, key, request_hash) VALUES ($1, $2, $3) ON CONFLICT (subject, key) DO UPDATE SET request_hash = excluded.request_hash, status = NULL, body = NULL, location = NULL, etag = NULL, created_at = excluded.created_at WHERE k.created_at < pg_catalog.clock_timestamp() - '1 day'::interval RETURNING true",
);

static KEPT: Statement = Statement::new(
    c"SELECT k.status, k.body, k.location, k.etag, k.request_hash FROM control_plane.kept_answers AS k WHERE k.subject = $1 AND k.key = $2",
);

static ANSWER: Statement = Statement::new(
    c"SELECT k.status, k.body, k.location, k.etag FROM control_plane.kept_answers AS k WHERE k.subject = $1 AND k.key = $2",
);

static KEEP: Statement = Statement::new(
    c"UPDATE control_plane.kept_answers AS k SET status = $3, body = $4, location = $5, etag = $6 WHERE k.subject = $1 AND k.key = $2 AND k.status IS NULL",
);

/// begin_request: no row where the request is new, else what was answered to it.
pub(crate) fn begin_request<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let subject = subject(caller)?;
    let key = key(arguments)?;
    let request = arguments.bytes(1, "request", LONGEST_DIGEST)?;
    let held = keyring::require()?;
    let keyring = held.keyring();
    session.run(&FORGET, &[])?;
    let (subject, key) = (Param::Text(Some(subject)), Param::Text(Some(&key)));
    let hash = keyring.request_hash(&request);
    let begun = session.run(&BEGIN, &[subject, key, Param::Bytes(&hash)])?;
    if begun.first().is_some() {
        return Ok(Answer::Many(Vec::new()));
    }
    let kept = session.run(&KEPT, &[subject, key])?.first();
    // It was forgotten a moment ago.
    let kept = kept.ok_or_else(under_way)?;
    let same = kept
        .bytes(4)
        .is_some_and(|hash| keyring.is_request(&request, &hash));
    if !same {
        return Err(Error::unprocessable(
            "this Idempotency-Key was used for another request",
        )
        .with_hint("Use a new one for each request, and the same one only to send a request again, unchanged."));
    }
    match (kept.integer(0), kept.datum_is_some(1)) {
        (None, _) => Err(under_way()),
        (Some(_), false) => Err(Error::shown_once()),
        (Some(_), true) => Ok(Answer::Rows(session.run(&ANSWER, &[subject, key])?)),
    }
}

fn under_way() -> Error {
    Error::conflict("a request with this Idempotency-Key has no answer yet")
        .with_hint("Send it again in a moment.")
}

/// end_request: keeps what is answered to the request that began in this transaction.
pub(crate) fn end_request<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let subject = subject(caller)?;
    let key = key(arguments)?;
    let status = arguments.integer(1).ok_or_else(|| Error::null("status"))?;
    if !(200..=299).contains(&status) {
        return Err(Error::bad_input("status must be 200 to 299"));
    }
    let body = arguments.text(2)?;
    if let Some(body) = &body {
        refuse_secrets(body)?;
    }
    let (location, etag) = (arguments.text(3)?, arguments.text(4)?);
    let kept = session.run(
        &KEEP,
        &[
            Param::Text(Some(subject)),
            Param::Text(Some(&key)),
            Param::Integer(Some(status)),
            Param::Text(body.as_deref()),
            Param::Text(location.as_deref()),
            Param::Text(etag.as_deref()),
        ],
    )?;
    match kept.affected() {
        1 => Ok(Answer::Void),
        _ => Err(Error::conflict("no request with this key is under way")),
    }
}

/// Keys are kept for subjects: a login of the database has its transactions for the same purpose.
fn subject(caller: &Caller) -> Result<&str> {
    caller.require_known()?;
    // PostgREST's users call functions by themselves, and could keep whatever they like.
    if !caller.is_trusted_itself() {
        return Err(only_for_relays());
    }
    match &caller.rights_of {
        RightsOf::Subject(subject) => Ok(subject),
        RightsOf::Role(_) | RightsOf::Nobody => Err(only_for_relays()),
    }
}

fn only_for_relays() -> Error {
    Error::forbidden("answers are kept for subjects that a trusted login authenticated")
}

fn key(arguments: &Arguments<'_>) -> Result<String> {
    let key = arguments.required_text(0, "key")?;
    if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(key)
    } else {
        Err(Error::bad_input(format!(
            "key must be 1 to {LONGEST_KEY} visible ASCII characters"
        )))
    }
}

/// Refuses an answer that has a secret in it, or that could have one because it is no JSON.
fn refuse_secrets(body: &str) -> Result<()> {
    fn holds(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(name, member)| {
                holds(member) || !member.is_null() && SECRETS.contains(&name.as_str())
            }),
            Value::Array(elements) => elements.iter().any(holds),
            _ => false,
        }
    }
    match serde_json::from_str::<Value>(body) {
        Ok(value) if !holds(&value) => Ok(()),
        Ok(_) => Err(Error::bad_input("body holds what must not be stored")),
        Err(_) => Err(Error::bad_input("body is not JSON")),
    }
}
