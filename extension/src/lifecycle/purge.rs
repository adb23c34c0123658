//! Removing a deleted secret for good.

use crate::access::identity::Caller;
use crate::access::names::check_reason;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::version;
use crate::outbox::event;
use serde_json::json;

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
    let versions = version::lock_all(session, latest.chain_id)?;

    // Told while its consumers are known: by them the event finds its endpoints.
    let data = json!({"version": latest.number, "versions": versions, "reason": reason});
    event::emit(session, &latest.event("secret.purged", data))?;
    let mut record = latest.record("secret.purged");
    record.detail = Some(json!({"versions": versions, "reason": reason}));
    let record = record.by_administrator(permitted.rights.is_administrator());
    let _declared = changes::declare(caller, record);
    let chain = [Param::Uuid(Some(latest.chain_id))];
    session.run(&FORGET_CONSUMERS, &chain)?;
    session.run(&FORGET_ROTATION, &chain)?;
    let purged = session.run(&PURGE, &chain)?.affected();
    i32::try_from(purged)
        .map(Answer::Integer)
        .map_err(|_| Error::internal("too many versions"))
}
