//! The record of reads, and of those that were refused.

use crate::access::identity::Caller;
use crate::access::rights::ReadingService;
use crate::audit::durable;
use crate::audit::record::{Encoder, Record};
use crate::backend::lock_waits;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::gucs;
use crate::lifecycle::version::{self, Version};
use serde_json::json;
use uuid::Uuid;

/// Records that `versions` are read, before their values leave: one record each, durable whatever
/// becomes of the reader's transaction. The reading service's use of them follows from the records;
/// see `usage.rs`.
pub(crate) fn record(
    caller: &Caller,
    versions: &[&Version],
    service: &ReadingService,
    administrator: bool,
) -> Result<()> {
    durable::refuse_on_standby()?;
    let encoder = Encoder::new(caller);
    let mut records = Vec::with_capacity(versions.len());
    for version in versions {
        let mut accessed = Record::new("secret.accessed");
        accessed.project_id = Some(version.project_id.clone());
        accessed.secret_id = Some(version.id);
        accessed.name = Some(version.name.clone());
        accessed.version = Some(version.number);
        accessed.service.clone_from(&service.name);
        if service.verified {
            accessed.add_detail("verified", json!(true));
        }
        records.push(encoder.encode(accessed.by_administrator(administrator))?);
    }
    durable::write(&records)
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
    lock_waits::limit(gucs::audit_timeout());
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
    denied.outcome = "denied";
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
    durable::write(&[Encoder::new(caller).encode(denied)?])
}
