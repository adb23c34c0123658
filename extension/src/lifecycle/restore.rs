//! Taking a deletion back.

use crate::access::identity::Caller;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::generator;
use crate::lifecycle::version::{self, Version};
use crate::outbox::event;
use serde_json::json;

static RESTORABLE: Statement = Statement::new(
    c"SELECT FROM control_plane.secrets AS s WHERE s.id = $1 AND s.purge_at > pg_catalog.clock_timestamp()",
);

static RESTORE: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET deleted_at = NULL, purge_at = NULL WHERE s.chain_id = $1",
);

/// restore_secret: takes a deletion back, for all versions. The clock went on meanwhile: a version
/// whose grace ended stays destroyed. Any version's id finds the secret; the current one answers.
pub(crate) fn restore_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let any_id = arguments.required_uuid(0, "secret_id")?;
    let permitted = version::permitted(session, caller, any_id, Permission::Delete)?;
    let named = version::lock(session, caller, &permitted.version, Permission::Delete)?;
    let latest = version::latest(session, named.chain_id)?;
    if !latest.deleted {
        return Err(Error::wrong_state("the secret is not deleted", latest.id));
    }
    // Past purge_at it is gone, whether or not somebody has removed its rows yet.
    let id = Param::Uuid(Some(latest.id));
    if session.run(&RESTORABLE, &[id])?.affected() == 0 {
        return Err(Error::no_such_secret());
    }
    if let Some(row) = version::current(session, &latest.project_id, &latest.name)? {
        return Err(Error::name_taken(Version::read(&row)?.id).with_hint(
            "Another secret was made under the name; delete that one first to have this one back.",
        ));
    }
    {
        let record = latest.record("secret.restored");
        let record = record.by_administrator(permitted.rights.is_administrator());
        let _declared = changes::declare(caller, record);
        session.run(&RESTORE, &[Param::Uuid(Some(latest.chain_id))])?;
        // What came due meanwhile would replace at once what was just brought back.
        generator::restart_schedule(session, latest.chain_id)?;
    }
    let data = json!({"version": latest.number});
    event::emit(session, &latest.event("secret.restored", data))?;
    let row = version::answer(session, latest.id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}
