//! Services that read a secret, registered and unregistered by hand.

use crate::access::identity::Caller;
use crate::access::names::check_service;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, Version};

static REGISTER: Statement = Statement::new(
    c"INSERT INTO control_plane.secret_consumers (secret_id, service) SELECT v.id, $2 FROM control_plane.versions AS v WHERE v.chain_id = $1 AND v.active ON CONFLICT (secret_id, service) DO NOTHING",
);

/// register_consumer: makes a service a consumer of the secret's current version, before it has
/// read it. Once it reads, its reads count by themselves.
pub(crate) fn register_consumer<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let any_id = arguments.required_uuid(0, "secret_id")?;
    let service = arguments.required_text(1, "service")?;
    check_service(&service)?;
    let permitted = version::permitted(session, caller, any_id, Permission::Manage)?;
    let (named, rights) = (permitted.version, permitted.rights);
    if version::lock(session, caller, &named, Permission::Manage)?.deleted {
        return Err(Error::no_such_secret());
    }

    let record = record("consumer.registered", &named, &service);
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    session.run(
        &REGISTER,
        &[
            Param::Uuid(Some(named.chain_id)),
            Param::Text(Some(&service)),
        ],
    )?;
    Ok(Answer::Void)
}

static UNREGISTER: Statement = Statement::new(
    c"DELETE FROM control_plane.secret_consumers AS c USING control_plane.secrets AS s WHERE s.id = c.secret_id AND s.chain_id = $1 AND c.service = $2",
);

/// unregister_consumer: forgets that a service reads the secret, whichever version. One that reads it
/// again is a consumer again.
pub(crate) fn unregister_consumer<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let any_id = arguments.required_uuid(0, "secret_id")?;
    let service = arguments.required_text(1, "service")?;
    check_service(&service)?;
    let permitted = version::permitted(session, caller, any_id, Permission::Manage)?;
    let (named, rights) = (permitted.version, permitted.rights);
    if version::lock(session, caller, &named, Permission::Manage)?.deleted {
        return Err(Error::no_such_secret());
    }
    version::lock_all(session, named.chain_id)?;

    let record = record("consumer.unregistered", &named, &service);
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    let params = [
        Param::Uuid(Some(named.chain_id)),
        Param::Text(Some(&service)),
    ];
    if session.run(&UNREGISTER, &params)?.affected() == 0 {
        return Err(Error::not_found("no such consumer"));
    }
    Ok(Answer::Void)
}

/// A record about a secret as a whole and one of its consumers.
fn record(action: &'static str, named: &Version, service: &str) -> Record {
    let mut record = named.record(action);
    record.version = None;
    record.service = Some(service.to_owned());
    record
}
