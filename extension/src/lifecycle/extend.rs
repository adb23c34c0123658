//! More time for a superseded version.

use crate::access::identity::Caller;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, State, Version};
use crate::lifecycle::{duration, grace};
use crate::workers::wake;
use serde_json::json;

static EXTENDED: Statement = Statement::new(
    c"SELECT pg_catalog.to_char(e.was AT TIME ZONE 'UTC', e.form), pg_catalog.to_char(e.becomes AT TIME ZONE 'UTC', e.form), e.becomes > pg_catalog.clock_timestamp() + $3 FROM (SELECT s.expires_at AS was, s.expires_at + $2 AS becomes, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"' AS form FROM control_plane.secrets AS s WHERE s.id = $1) AS e",
);

// The warning was of an end that is none any more, and a hold would count from it.
static EXTEND: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET expires_at = s.expires_at + $2, warned_at = NULL, held_from = NULL WHERE s.id = $1 AND s.expires_at > pg_catalog.clock_timestamp()",
);

/// extend_grace: lets the version in grace with this id stay readable for longer.
pub(crate) fn extend_grace<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let by = grace::of_extension(arguments.interval(1))?;
    let permitted = version::permitted(session, caller, id, Permission::Write)?;
    let superseded = lock_in_grace(session, caller, &permitted.version)?;

    let id = Param::Uuid(Some(superseded.id));
    let by = Param::Interval(by);
    let times = session
        .run(&EXTENDED, &[id, by, Param::Interval(duration::LONGEST)])?
        .first()
        .ok_or_else(Error::no_such_secret)?;
    // Else many extensions would reach what one may not.
    if times.boolean(2) == Some(true) {
        return Err(Error::bad_input("grace must end within ten years"));
    }
    let mut record = superseded.record("secret.grace_extended");
    record.detail = Some(json!({"from": times.text(0), "to": times.text(1)}));
    {
        let record = record.by_administrator(permitted.rights.is_administrator());
        let _declared = changes::declare(caller, record);
        if session.run(&EXTEND, &[id, by])?.affected() == 0 {
            return Err(over(session, &superseded)?);
        }
    }
    wake::changed();
    let row = version::answer(session, superseded.id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}

/// Locks the name of `found` and gives that version as it is now, if it is in grace.
pub(super) fn lock_in_grace(
    session: &Session,
    caller: &Caller,
    found: &Version,
) -> Result<Version> {
    let version = version::lock(session, caller, found, Permission::Write)?;
    require_in_grace(session, &version)?;
    Ok(version)
}

/// Refuses a version whose grace cannot be extended or ended because it has none.
pub(super) fn require_in_grace(session: &Session, version: &Version) -> Result<()> {
    if version.deleted {
        return Err(Error::no_such_secret());
    }
    match version.state {
        State::Grace => Ok(()),
        State::Active => Err(Error::wrong_state(
            "this is the current version, which has no grace",
            version.id,
        )
        .with_hint("Give the id of a version that was superseded; secret_versions() lists them.")),
        State::Destroyed | State::Deleted => Err(over(session, version)?),
    }
}

/// The error for a version whose grace is over.
fn over(session: &Session, version: &Version) -> Result<Error> {
    let current = version::latest(session, version.chain_id)?;
    Ok(Error::destroyed(Some(current.id)).with_hint("There is nothing left to extend or to end."))
}
