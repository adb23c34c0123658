//! Giving a secret a new value.

use crate::access::identity::Caller;
use crate::access::names::check_reason;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::audit::record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::keys::keyring;
use crate::lifecycle::version::{self, NewVersion, Version};
use crate::lifecycle::{consumers, destroy, duration, generator, grace};
use crate::outbox::event;
use pg_secrets_openpgp::{Place, Sealed};
use serde_json::json;
use uuid::Uuid;

static SUPERSEDE: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET active = false, superseded_at = now.at, expires_at = now.at + $2 FROM (SELECT pg_catalog.clock_timestamp() AS at) AS now WHERE s.id = $1",
);

static SUPERSEDE_AND_DESTROY: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET active = false, superseded_at = now.at, expires_at = now.at, destroyed_at = now.at, value_encrypted = NULL, key_fingerprint = NULL FROM (SELECT pg_catalog.clock_timestamp() AS at) AS now WHERE s.id = $1",
);

/// rotate_secret: supersedes the version that the caller names, if it is still the current one.
/// Of several racing rotations of one version one wins; the others learn the new current id.
pub(crate) fn rotate_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let old_id = arguments.required_uuid(0, "secret_id")?;
    let reason = arguments.text(2)?;
    check_reason(reason.as_deref())?;
    let grace = grace::said(arguments.interval(3))?;

    let permitted = version::permitted(session, caller, old_id, Permission::Write)?;
    let (named, rights) = (permitted.version, permitted.rights);
    let value = generator::value_of_rotation(session, arguments, 1, named.chain_id)?;

    // Sealed before the lock is taken: the others of a race wait for the lock, not for this.
    let new_id = id::new()?;
    let sealed = keyring::seal(Place::version(new_id), value.as_bytes())?;
    drop(value);

    let old = lock_current(session, caller, &named)?;
    let new = Successor {
        id: new_id,
        sealed: &sealed,
        reason: reason.as_deref(),
        grace,
        rolled_back_to: None,
    };
    succeed(session, caller, rights.is_administrator(), &old, &new)
}

/// What takes the place of the current version.
pub(super) struct Successor<'a> {
    pub(super) id: Uuid,
    pub(super) sealed: &'a Sealed,
    pub(super) reason: Option<&'a str>,
    /// How long the version that it supersedes stays readable, in microseconds, where the caller says.
    pub(super) grace: Option<i64>,
    /// The number of the version whose value it has again.
    pub(super) rolled_back_to: Option<i32>,
}

/// Puts `new` into the place of `old`, which is current and whose name is locked.
pub(super) fn succeed<'s>(
    session: &'s Session,
    caller: &Caller,
    administrator: bool,
    old: &Version,
    new: &Successor<'_>,
) -> Result<Answer<'s>> {
    let grace = grace::of_rotation(session, &old.project_id, new.grace)?;
    let number = {
        let _unrecorded = changes::recorded_elsewhere();
        version::next_number(session, &old.project_id, &old.name)?
    };
    let mut record = old.record("secret.rotated");
    record.secret_id = Some(new.id);
    record.version = Some(number);
    record.detail = Some(json!({
        "rotated_from": old.id,
        "reason": new.reason,
        "grace_seconds": duration::seconds(grace),
    }));
    let mut data = json!({
        "new_version": number,
        "rotated_from": old.id,
        "previous_version": old.number,
        "rotation_reason": new.reason,
        "grace_seconds": duration::seconds(grace),
    });
    if let Some(to) = new.rolled_back_to {
        record.action = "secret.rolled_back";
        record.add_detail("rolled_back_to", json!(to));
        data["rolled_back_to"] = json!(to);
    }
    {
        let _declared = changes::declare(caller, record.by_administrator(administrator));
        supersede(session, old.id, grace)?;
        version::insert(
            session,
            &NewVersion {
                id: new.id,
                chain_id: old.chain_id,
                project_id: &old.project_id,
                name: &old.name,
                sealed: new.sealed,
                number,
                rotated_from: Some(old.id),
                rotation_reason: new.reason,
                created_by: &caller.actor,
            },
        )?;
        consumers::expect(session, old.id, new.id)?;
        generator::restart_schedule(session, old.chain_id)?;
    }
    let mut event = old.event("secret.rotated", data);
    event.secret_id = new.id;
    event::emit(session, &event)?;
    if grace == 0 {
        let record = destroy::record(old).by_administrator(administrator);
        record::write(session, caller, record)?;
        destroy::tell(session, old)?;
    }
    let row = version::answer(session, new.id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}

/// Locks the name of `named` and gives its current version, if that is still `named` itself.
pub(super) fn lock_current(session: &Session, caller: &Caller, named: &Version) -> Result<Version> {
    let named = version::lock(session, caller, named, Permission::Write)?;
    require_current(session, &named)?;
    Ok(named)
}

/// Refuses a version that cannot be superseded because it is not the current one.
pub(super) fn require_current(session: &Session, named: &Version) -> Result<()> {
    if named.deleted {
        return Err(Error::no_such_secret());
    }
    let current = version::current(session, &named.project_id, &named.name)?
        .ok_or_else(Error::no_such_secret)?;
    let current = Version::read(&current)?;
    if current.id == named.id {
        Ok(())
    } else {
        Err(Error::superseded(current.id))
    }
}

fn supersede(session: &Session, old: Uuid, grace: i64) -> Result<()> {
    let id = Param::Uuid(Some(old));
    if grace == 0 {
        session.run(&SUPERSEDE_AND_DESTROY, &[id])?;
    } else {
        session.run(&SUPERSEDE, &[id, Param::Interval(grace)])?;
    }
    Ok(())
}
