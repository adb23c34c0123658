//! Services that read a secret: registered by hand, or expected to read a new version because they had the
//! one before.

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
use uuid::Uuid;

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
    version::lock_name(session, caller, &named, Permission::Manage)?;
    let found = version::by_id(session, any_id)?.ok_or_else(Error::no_such_secret)?;
    if Version::read(&found)?.deleted {
        return Err(Error::no_such_secret());
    }

    let mut record = Record::new("consumer.registered");
    record.project_id = Some(named.project_id.clone());
    record.secret_id = Some(named.id);
    record.name = Some(named.name.clone());
    record.service = Some(service.clone());
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

static EXPECT: Statement = Statement::new(
    c"WITH moved AS (DELETE FROM control_plane.secret_consumers AS c WHERE c.secret_id = $1 AND c.last_used_at IS NULL) INSERT INTO control_plane.secret_consumers (secret_id, service) SELECT $2, c.service FROM control_plane.secret_consumers AS c WHERE c.secret_id = $1 ON CONFLICT (secret_id, service) DO NOTHING",
);

/// Makes the consumers of the version `old` expected ones of `new`, which takes its place: they have not
/// read it yet. Those that never read `old` are no longer expected there, or rows would pile up with every
/// rotation. To be called within the declared change, once `old` is superseded: a use of it that is
/// stored after this is seen by whoever stores it (sql/43_usage.sql).
pub(crate) fn expect(session: &Session, old: Uuid, new: Uuid) -> Result<()> {
    session.run(&EXPECT, &[Param::Uuid(Some(old)), Param::Uuid(Some(new))])?;
    Ok(())
}
