//! Removing a deleted secret for good.

use crate::access::identity::Caller;
use crate::access::names::check_reason;
use crate::access::rights::Permission;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, Version};
use crate::maintenance::Actor;
use crate::outbox::event;
use crate::workers::wake;
use serde_json::json;
use uuid::Uuid;

// Not left to the foreign keys: their action looks with the snapshot of the transaction too, and fails
// under REPEATABLE READ for a consumer or a schedule that is newer.
static FORGET_CONSUMERS: Statement = Statement::new(
    c"DELETE FROM control_plane.secret_consumers AS c USING control_plane.secrets AS s WHERE s.id = c.secret_id AND s.chain_id = $1",
);

static FORGET_ROTATION: Statement =
    Statement::new(c"DELETE FROM control_plane.rotations AS r WHERE r.chain_id = $1");

// All at once: they refer to each other by rotated_from.
static PURGE: Statement =
    Statement::new(c"DELETE FROM control_plane.secrets AS s WHERE s.chain_id = $1");

/// purge_secret: removes the rows of a deleted secret; answers how many versions that were. Its name
/// keeps its last number, and what was recorded and told of it stays.
pub(crate) fn purge_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let any_id = arguments.required_uuid(0, "secret_id")?;
    let reason = arguments.text(1)?;
    check_reason(reason.as_deref())?;
    let permitted = version::permitted(session, caller, any_id, Permission::Admin)?;
    let named = version::lock(session, caller, &permitted.version, Permission::Admin)?;
    let latest = version::latest(session, named.chain_id)?;
    if !latest.deleted {
        return Err(
            Error::wrong_state("the secret is not deleted", latest.id).with_hint(
                "Delete it first, with control_plane.delete_secret(); what is purged cannot be restored.",
            ),
        );
    }
    let actor = Actor {
        caller,
        administrator: permitted.rights.is_administrator(),
    };
    let purged = remove(session, &actor, &latest, reason.as_deref())?;
    i32::try_from(purged)
        .map(Answer::Integer)
        .map_err(|_| Error::internal("too many versions"))
}

static DUE: Statement = Statement::new(
    c"SELECT FROM control_plane.secrets AS s WHERE s.id = $1 AND s.active AND s.purge_at <= pg_catalog.clock_timestamp()",
);

/// Removes the secret whose latest version has this id, and whose name is locked, if its time has come;
/// false where it has not.
pub(crate) fn expire(session: &Session, actor: &Actor<'_>, latest: Uuid) -> Result<bool> {
    let id = [Param::Uuid(Some(latest))];
    if session.run(&DUE, &id)?.affected() == 0 {
        return Ok(false);
    }
    let row = version::by_id(session, latest)?.ok_or_else(Error::no_such_secret)?;
    remove(session, actor, &Version::read(&row)?, None)?;
    Ok(true)
}

/// Removes a deleted secret whose name is locked; how many versions it had.
fn remove(
    session: &Session,
    actor: &Actor<'_>,
    latest: &Version,
    reason: Option<&str>,
) -> Result<u64> {
    let versions = version::lock_all(session, latest.chain_id)?;
    // Told while its consumers are known: by them the event finds its endpoints.
    let data = json!({"version": latest.number, "versions": versions, "reason": reason});
    event::emit(session, &latest.event("secret.purged", data))?;
    let mut record = latest.record("secret.purged");
    record.detail = Some(json!({"versions": versions, "reason": reason}));
    let _declared = actor.declare(record);
    let chain = [Param::Uuid(Some(latest.chain_id))];
    session.run(&FORGET_CONSUMERS, &chain)?;
    session.run(&FORGET_ROTATION, &chain)?;
    wake::erased();
    Ok(session.run(&PURGE, &chain)?.affected())
}
