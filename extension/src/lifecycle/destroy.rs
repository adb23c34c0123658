//! The end of a version: its ciphertext is erased, and its row stays as history.

use crate::access::identity::Caller;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::lifecycle::extend;
use crate::lifecycle::version::{self, Version};
use crate::maintenance::Actor;
use crate::outbox::event;
use crate::workers::wake;
use serde_json::json;
use uuid::Uuid;

static DESTROY: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET expires_at = now.at, destroyed_at = now.at, value_encrypted = NULL, key_fingerprint = NULL FROM (SELECT pg_catalog.clock_timestamp() AS at) AS now WHERE s.id = $1",
);

/// end_grace: destroys the version in grace with this id at once.
pub(crate) fn end_grace<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let permitted = version::permitted(session, caller, id, Permission::Write)?;
    let superseded = extend::lock_in_grace(session, caller, &permitted.version)?;
    {
        let record = record(&superseded).by_administrator(permitted.rights.is_administrator());
        let _declared = changes::declare(caller, record);
        session.run(&DESTROY, &[Param::Uuid(Some(superseded.id))])?;
    }
    tell(session, &superseded)?;
    let row = version::answer(session, superseded.id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}

// The end stays when it was; it is when the clock passed it that readers were refused.
static EXPIRE: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET destroyed_at = pg_catalog.clock_timestamp(), value_encrypted = NULL, key_fingerprint = NULL WHERE s.id = $1 AND s.destroyed_at IS NULL AND s.expires_at <= pg_catalog.clock_timestamp()",
);

/// Erases the version with this id, whose name is locked, if its grace is over; false where it is not, or
/// it was erased already.
pub(crate) fn expire(session: &Session, actor: &Actor<'_>, id: Uuid) -> Result<bool> {
    let Some(row) = version::by_id(session, id)? else {
        return Ok(false);
    };
    let expired = Version::read(&row)?;
    {
        let _declared = actor.declare(record(&expired));
        let erased = session.run(&EXPIRE, &[Param::Uuid(Some(id))])?.affected();
        if erased == 0 {
            return Ok(false);
        }
    }
    tell(session, &expired)?;
    Ok(true)
}

/// The record of a version that is destroyed.
pub(super) fn record(version: &Version) -> Record {
    version.record("secret.destroyed")
}

/// Tells of a version that was destroyed.
pub(super) fn tell(session: &Session, version: &Version) -> Result<()> {
    wake::erased();
    let data = json!({"version": version.number});
    event::emit(session, &version.event("secret.destroyed", data))
}
