//! Making a secret.

use crate::access::identity::Caller;
use crate::access::names::check_identifier;
use crate::access::rights::{Permission, Rights};
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::id;
use crate::keys::keyring;
use crate::lifecycle::value;
use crate::lifecycle::version::{self, NewVersion, Version};
use crate::outbox::event::{self, Event};
use pg_secrets_openpgp::Place;
use serde_json::json;

/// create_secret: the first version of a secret. A name that was deleted begins anew with a chain
/// of its own, and goes on with the next number.
pub(crate) fn create_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    check_identifier("project_id", &project)?;
    let name = arguments.required_text(1, "name")?;
    check_identifier("name", &name)?;
    Rights::on(session, caller, &project, &name)?.require(Permission::Write)?;
    let value = value::read(arguments, 2)?;

    let row_id = id::new()?;
    let sealed = keyring::seal(Place::version(row_id), value.as_bytes())?;
    drop(value);

    let mut record = Record::new("secret.created");
    record.project_id = Some(project.clone());
    record.secret_id = Some(row_id);
    record.name = Some(name.clone());

    // A name that is taken is refused before anything is written, and again below, once the lock
    // has settled who was first.
    refuse_if_taken(session, &project, &name)?;
    let number = {
        let _unrecorded = changes::recorded_elsewhere();
        version::next_number(session, &project, &name)?
    };
    // Who waited for the name may have lost the right meanwhile.
    let rights = Rights::on(session, caller, &project, &name)?;
    rights.require(Permission::Write)?;
    refuse_if_taken(session, &project, &name)?;
    record.version = Some(number);
    {
        let _declared =
            changes::declare(caller, record.by_administrator(rights.is_administrator()));
        version::insert(
            session,
            &NewVersion {
                id: row_id,
                chain_id: row_id,
                project_id: &project,
                name: &name,
                sealed: &sealed,
                number,
                rotated_from: None,
                rotation_reason: None,
                created_by: &caller.actor,
            },
        )?;
    }
    event::emit(
        session,
        &Event {
            kind: "secret.created",
            project_id: &project,
            secret_id: row_id,
            name: &name,
            chain_id: row_id,
            data: json!({"new_version": number}),
        },
    )?;
    let row = version::answer(session, row_id)?;
    Ok(Answer::One(Composite { row, secret: None }))
}

fn refuse_if_taken(session: &Session, project: &str, name: &str) -> Result<()> {
    match version::current(session, project, name)? {
        Some(row) => Err(Error::name_taken(Version::read(&row)?.id)),
        None => Ok(()),
    }
}
