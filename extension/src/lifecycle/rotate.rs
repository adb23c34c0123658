//! Giving a secret a new value.

use crate::access::identity::Caller;
use crate::access::names::check_reason;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::keys::keyring;
use crate::lifecycle::version::{self, NewVersion, Version};
use crate::lifecycle::{consumers, generator, grace};
use crate::outbox::event::{self, Event};
use pg_secrets_openpgp::Place;
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
    let grace = grace::of_rotation(session, &old.project_id, grace)?;
    let number = {
        let _unrecorded = changes::recorded_elsewhere();
        version::next_number(session, &old.project_id, &old.name)?
    };
    let administrator = rights.is_administrator();
    let mut record = Record::new("secret.rotated");
    record.project_id = Some(old.project_id.clone());
    record.secret_id = Some(new_id);
    record.name = Some(old.name.clone());
    record.version = Some(number);
    record.detail = Some(json!({
        "rotated_from": old.id,
        "reason": reason,
        "grace_seconds": grace / 1_000_000,
    }));
    {
        let _declared = changes::declare(caller, record.by_administrator(administrator));
        supersede(session, old.id, grace)?;
        version::insert(
            session,
            &NewVersion {
                id: new_id,
                chain_id: old.chain_id,
                project_id: &old.project_id,
                name: &old.name,
                sealed: &sealed,
                number,
                rotated_from: Some(old.id),
                rotation_reason: reason.as_deref(),
                created_by: &caller.actor,
            },
        )?;
        consumers::expect(session, old.id, new_id)?;
        generator::restart_schedule(session, old.chain_id)?;
    }
    event::emit(
        session,
        &Event {
            kind: "secret.rotated",
            project_id: &old.project_id,
            secret_id: new_id,
            name: &old.name,
            chain_id: old.chain_id,
            data: json!({
                "new_version": number,
                "rotated_from": old.id,
                "previous_version": old.number,
                "rotation_reason": reason,
                "grace_seconds": grace / 1_000_000,
            }),
        },
    )?;
    if grace == 0 {
        destroyed(session, caller, &old, administrator)?;
    }
    let row = version::answer(session, new_id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}

/// Locks the name of `named` and gives its current version, if that is still `named` itself.
fn lock_current(session: &Session, caller: &Caller, named: &Version) -> Result<Version> {
    version::lock_name(session, caller, named, Permission::Write)?;
    // What was found before the lock may be history by now.
    let found = version::by_id(session, named.id)?.ok_or_else(Error::no_such_secret)?;
    let named = Version::read(&found)?;
    if named.deleted {
        return Err(Error::no_such_secret());
    }
    let current = version::current(session, &named.project_id, &named.name)?
        .ok_or_else(Error::no_such_secret)?;
    let current = Version::read(&current)?;
    if current.id == named.id {
        Ok(current)
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

/// Tells of a version that was destroyed with its rotation.
fn destroyed(session: &Session, caller: &Caller, old: &Version, administrator: bool) -> Result<()> {
    let mut record = Record::new("secret.destroyed");
    record.project_id = Some(old.project_id.clone());
    record.secret_id = Some(old.id);
    record.name = Some(old.name.clone());
    record.version = Some(old.number);
    let record = record.by_administrator(administrator);
    crate::audit::record::write(session, caller, record)?;
    event::emit(
        session,
        &Event {
            kind: "secret.destroyed",
            project_id: &old.project_id,
            secret_id: old.id,
            name: &old.name,
            chain_id: old.chain_id,
            data: json!({"version": old.number}),
        },
    )
}
