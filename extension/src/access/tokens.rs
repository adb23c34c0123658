//! Bearer tokens: made once, kept as SHA-256, verified here and nowhere else.

use crate::access::expiry;
use crate::access::identity::{self, Caller, Request};
use crate::access::names::{check_identifier, check_service};
use crate::access::rejected_tokens;
use crate::access::rights::Rights;
use crate::access::token_uses;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::lock_waits;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::gucs;
use crate::id;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What a token starts with, so that scanners for leaked credentials can know it.
const PREFIX: &str = "pgs_";

/// What is longer is no token of ours, in bytes.
const LONGEST_TOKEN: usize = 4096;

/// How many random bytes a token has.
const TOKEN_BYTES: usize = 32;

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.tokens (id, token_sha256, subject, service, expires_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)",
);

/// create_token: a new token for a subject, given out this once.
pub(crate) fn create_token<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let subject = arguments.required_text(0, "subject")?;
    check_identifier("subject", &subject)?;
    let service = arguments.text(1)?;
    if let Some(service) = &service {
        check_service(service)?;
    }
    let expires_at = expiry::read(arguments, 2)?;
    let rights = Rights::of_administrator(session, caller)?;

    let mut random = Zeroizing::new([0_u8; TOKEN_BYTES]);
    id::randomness(random.as_mut_slice())?;
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
    let token = Zeroizing::new(format!("{PREFIX}{}", *encoded));

    let token_id = id::new()?;
    let mut record = Record::new("token.created");
    record.service = service.clone();
    record.detail = Some(json!({"token_id": token_id, "subject": subject}));
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    session.run(
        &INSERT,
        &[
            Param::Uuid(Some(token_id)),
            Param::Bytes(&hash(&token)),
            Param::Text(Some(&subject)),
            Param::Text(service.as_deref()),
            Param::Timestamp(expires_at),
            Param::Text(Some(&caller.actor)),
        ],
    )?;
    Ok(Answer::Text(token))
}

static REVOKE: Statement = Statement::new(
    c"UPDATE control_plane.tokens AS t SET revoked_at = pg_catalog.clock_timestamp() WHERE t.id = $1 AND t.revoked_at IS NULL RETURNING t.subject",
);

/// revoke_token: the next authentication with it fails.
pub(crate) fn revoke_token<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let token_id = arguments.required_uuid(0, "id")?;
    let rights = Rights::of(session, caller, None)?;
    if !rights.is_administrator() {
        return Err(no_such_token());
    }
    let mut record = Record::new("token.revoked");
    record.detail = Some(json!({"token_id": token_id}));
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    session
        .run(&REVOKE, &[Param::Uuid(Some(token_id))])?
        .first()
        .map(|_| Answer::Void)
        .ok_or_else(no_such_token)
}

/// Also for whoever may not know which tokens there are.
fn no_such_token() -> Error {
    Error::not_found("no such token, or it is revoked already")
}

static LIST: Statement = Statement::new(
    c"SELECT t.id, t.subject, t.service::text, t.expires_at, t.revoked_at, t.created_by, t.created_at, t.last_used_at FROM control_plane.tokens AS t WHERE $1 IS NULL OR t.subject = $1 ORDER BY t.created_at, t.id",
);

/// list_tokens: the tokens of a subject, or all, oldest first; those that are over too.
pub(crate) fn list_tokens<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let subject = arguments.text(0)?;
    Rights::of_administrator(session, caller)?;
    let rows = session.run(&LIST, &[Param::Text(subject.as_deref())])?;
    Ok(Answer::Rows(rows))
}

static ID_OF: Statement =
    Statement::new(c"SELECT t.id FROM control_plane.tokens AS t WHERE t.token_sha256 = $1");

/// token_id: which token a text is, for whoever has found one where it should not be.
pub(crate) fn token_id<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let token = arguments.secret(0, "token", LONGEST_TOKEN)?;
    Rights::of_administrator(session, caller)?;
    let found = session.run(&ID_OF, &[Param::Bytes(&hash(&token))])?.first();
    found
        .and_then(|row| row.uuid(0))
        .map(Answer::Uuid)
        .ok_or_else(|| Error::not_found("no such token"))
}

static FIND: Statement = Statement::new(
    c"SELECT t.subject, t.service::text, t.id, t.last_used_at FROM control_plane.tokens AS t WHERE t.token_sha256 = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > pg_catalog.clock_timestamp())",
);

/// authenticate: verifies a token and makes its subject the caller until the transaction ends.
/// The lookup goes by the token's hash, so its time tells nothing about the token.
pub(crate) fn authenticate<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    if !caller.trusted {
        return Err(Error::forbidden("this login may not authenticate others")
            .with_hint("Only logins listed in pg_secrets.trusted_logins do; others have the grants of their role."));
    }
    // Whoever reads by a token waits here first.
    lock_waits::limit(gucs::audit_timeout());
    let token = arguments.secret(0, "token", LONGEST_TOKEN)?;
    let described = arguments.json(1)?;
    let found = session.run(&FIND, &[Param::Bytes(&hash(&token))])?.first();
    let request = Request::read(described.as_ref());
    let Some(row) = found else {
        rejected_tokens::count(&request);
        return Err(Error::unauthenticated("the token is not valid").with_hint(
            "It may be mistyped, expired or revoked; an administrator can make a new one with control_plane.create_token().",
        ));
    };
    let subject = row
        .text(0)
        .ok_or_else(|| Error::internal("a token without subject"))?;
    let service = row.text(1);
    identity::authenticate(&subject, service.as_deref(), request)?;
    if let Some(token_id) = row.uuid(2) {
        token_uses::note(token_id, row.timestamp(3));
    }
    Ok(Answer::Text(Zeroizing::new(subject)))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
