//! Deleting a whole secret.

use crate::access::identity::Caller;
use crate::access::names::check_reason;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::gucs;
use crate::lifecycle::version::{self, Version};
use crate::outbox::event;
use serde_json::json;

static DELETE: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET deleted_at = now.at, purge_at = now.at + $2 FROM (SELECT pg_catalog.clock_timestamp() AS at) AS now WHERE s.chain_id = $1 AND s.deleted_at IS NULL",
);

/// delete_secret: all versions unreadable at once, restorable until purge_at. Any version's id
/// finds the secret; the one that was current answers.
pub(crate) fn delete_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let any_id = arguments.required_uuid(0, "secret_id")?;
    let reason = arguments.text(1)?;
    check_reason(reason.as_deref())?;
    let permitted = version::permitted(session, caller, any_id, Permission::Delete)?;
    let (named, rights) = (permitted.version, permitted.rights);

    version::lock_name(session, caller, &named, Permission::Delete)?;
    let latest = version::latest(session, named.chain_id)?;
    require_there(&latest)?;

    let mut record = latest.record("secret.deleted");
    record.detail = Some(json!({"reason": reason}));
    let purge_after = i64::try_from(gucs::purge_after().as_micros())
        .map_err(|_| Error::internal("pg_secrets.purge_after"))?;
    {
        let _declared =
            changes::declare(caller, record.by_administrator(rights.is_administrator()));
        session.run(
            &DELETE,
            &[
                Param::Uuid(Some(latest.chain_id)),
                Param::Interval(purge_after),
            ],
        )?;
    }
    let data = json!({"version": latest.number, "reason": reason});
    event::emit(session, &latest.event("secret.deleted", data))?;
    let row = version::answer(session, latest.id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}

/// Refuses a secret that cannot be deleted because it is already: any of its versions says so.
pub(super) fn require_there(version: &Version) -> Result<()> {
    if version.deleted {
        return Err(Error::no_such_secret());
    }
    Ok(())
}
