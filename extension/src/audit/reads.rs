//! The record of reads, and of who uses which version.

use crate::access::identity::Caller;
use crate::access::rights::ReadingService;
use crate::audit::changes;
use crate::audit::durable;
use crate::audit::record::{Encoder, Record};
use crate::backend::session::{Param, Session, Statement, in_read_only_transaction};
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, Version};
use serde_json::json;
use uuid::Uuid;

static RECENT: Statement = Statement::new(
    c"SELECT FROM control_plane.secret_consumers AS c WHERE c.secret_id = $1 AND c.service = $2 AND CASE WHEN $3 = 1 THEN c.last_verified_at ELSE c.last_used_at END > pg_catalog.clock_timestamp() - interval '1 minute'",
);

static EXISTS: Statement =
    Statement::new(c"SELECT FROM control_plane.secrets AS s WHERE s.id = $1");

static USE: Statement = Statement::new(
    c"INSERT INTO control_plane.secret_consumers AS c (secret_id, service, last_used_at, last_verified_at) VALUES ($1, $2, pg_catalog.clock_timestamp(), CASE WHEN $3 = 1 THEN pg_catalog.clock_timestamp() END) ON CONFLICT (secret_id, service) DO UPDATE SET last_used_at = excluded.last_used_at, last_verified_at = coalesce(excluded.last_verified_at, c.last_verified_at)",
);

/// Records that `versions` are read, before their values leave: one record each, durable whatever
/// becomes of the reader's transaction, and the reading service's last use, at most once a minute.
pub(crate) fn record(
    session: &Session,
    caller: &Caller,
    versions: &[&Version],
    service: &ReadingService,
    administrator: bool,
) -> Result<()> {
    durable::refuse_on_standby()?;
    let encoder = Encoder::new(session, caller)?;
    let mut records = Vec::with_capacity(versions.len());
    for version in versions {
        let mut accessed = Record::new("secret.accessed");
        accessed.project_id = Some(version.project_id.clone());
        accessed.secret_id = Some(version.id);
        accessed.name = Some(version.name.clone());
        accessed.version = Some(version.number);
        accessed.service.clone_from(&service.name);
        records.push(encoder.encode(accessed.by_administrator(administrator), "success")?);
    }
    for version in versions {
        note_use(session, version, service)?;
    }
    durable::write(&records)
}

/// Notes that a service uses a version.
fn note_use(session: &Session, version: &Version, service: &ReadingService) -> Result<()> {
    let Some(name) = &service.name else {
        return Ok(());
    };
    if in_read_only_transaction() {
        return Ok(());
    }
    let usage = [
        Param::Uuid(Some(version.id)),
        Param::Text(Some(name)),
        Param::Integer(Some(i32::from(service.verified))),
    ];
    // A version that is newer than the reader's snapshot can be read, and cannot be referred to: its
    // use goes unnoticed this once, rather than the read be refused.
    let id = [Param::Uuid(Some(version.id))];
    if session.run(&RECENT, &usage)?.first().is_none() && session.transaction_sees(&EXISTS, &id)? {
        let _recorded = changes::recorded_elsewhere();
        session.run(&USE, &usage)?;
    }
    Ok(())
}

/// What somebody tried to read, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) project_id: Option<String>,
    pub(crate) secret_id: Option<Uuid>,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<i32>,
    pub(crate) service: Option<String>,
}

/// Does a read; one that is refused is recorded as durably as one that is not, and fails as that one
/// does where it cannot be recorded: nobody probes unseen.
pub(crate) fn or_refused<T>(
    session: &Session,
    caller: &Caller,
    attempt: Attempt,
    read: impl FnOnce() -> Result<T>,
) -> Result<T> {
    read().map_err(|error| {
        if !error.is_refusal() {
            return error;
        }
        match record_refusal(session, caller, attempt, &error) {
            Ok(()) => error,
            Err(unrecordable) => unrecordable,
        }
    })
}

fn record_refusal(
    session: &Session,
    caller: &Caller,
    attempt: Attempt,
    error: &Error,
) -> Result<()> {
    let mut denied = Record::new("secret.access_denied");
    denied.project_id = attempt.project_id;
    denied.secret_id = attempt.secret_id;
    denied.name = attempt.name;
    denied.version = attempt.version;
    denied.service = attempt.service;
    denied.detail = Some(json!({"sqlstate": String::from_utf8_lossy(&error.sqlstate())}));
    // Whoever looks into the audit wants to know which secret it was, if there is one.
    if let Some(id) = denied.secret_id
        && let Some(row) = version::by_id(session, id)?
    {
        let known = Version::read(&row)?;
        denied.project_id = Some(known.project_id);
        denied.name = Some(known.name);
        denied.version = denied.version.or(Some(known.number));
    }
    durable::write(&[Encoder::new(session, caller)?.encode(denied, "denied")?])
}
