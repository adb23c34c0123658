//! Services that read a secret: registered and unregistered by hand, or expected to read a new version
//! because they had the one before.

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
    let asked = Asked::of(session, caller, arguments)?;
    let _declared = changes::declare(caller, asked.record("consumer.registered"));
    session.run(
        &REGISTER,
        &[
            Param::Uuid(Some(asked.secret.chain_id)),
            Param::Text(Some(&asked.service)),
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
    let asked = Asked::of(session, caller, arguments)?;
    version::lock_all(session, asked.secret.chain_id)?;
    let _declared = changes::declare(caller, asked.record("consumer.unregistered"));
    let params = [
        Param::Uuid(Some(asked.secret.chain_id)),
        Param::Text(Some(&asked.service)),
    ];
    if session.run(&UNREGISTER, &params)?.affected() == 0 {
        return Err(Error::not_found("no such consumer"));
    }
    Ok(Answer::Void)
}

/// A secret that is not deleted, whose name is locked, and a service.
struct Asked {
    secret: Version,
    service: String,
    administrator: bool,
}

impl Asked {
    /// Reads the arguments of a caller who may manage.
    fn of(session: &Session, caller: &Caller, arguments: &Arguments<'_>) -> Result<Self> {
        let any_id = arguments.required_uuid(0, "secret_id")?;
        let service = arguments.required_text(1, "service")?;
        check_service(&service)?;
        let permitted = version::permitted(session, caller, any_id, Permission::Manage)?;
        let secret = version::lock(session, caller, &permitted.version, Permission::Manage)?;
        if secret.deleted {
            return Err(Error::no_such_secret());
        }
        Ok(Self {
            secret,
            service,
            administrator: permitted.rights.is_administrator(),
        })
    }

    /// A record about the secret as a whole and this consumer.
    fn record(&self, action: &'static str) -> Record {
        let mut record = self.secret.record(action);
        record.version = None;
        record.service = Some(self.service.clone());
        record.by_administrator(self.administrator)
    }
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
