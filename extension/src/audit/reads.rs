//! The record of reads, and of those that were refused.

use crate::access::identity::Caller;
use crate::access::rights::ReadingService;
use crate::audit::durable;
use crate::audit::encoded::Encoded;
use crate::audit::record::{Encoder, Record};
use crate::backend::lock_waits;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::gucs;
use crate::id;
use crate::lifecycle::version::{self, Version};
use serde_json::json;
use uuid::Uuid;

/// Records that versions are read, each for a service, before their values leave: one record each,
/// durable whatever becomes of the reader's transaction. The services' use of them follows from the
/// records; see `usage.rs`.
pub(crate) fn record(
    caller: &Caller,
    read_now: &[(&Version, ReadingService)],
    administrator: bool,
) -> Result<()> {
    write(caller, "secret.accessed", read_now, administrator)
}

/// Records that somebody who has the value of a version was told that it still is what he would read. For
/// what follows from it, it is a read.
pub(crate) fn record_check(
    caller: &Caller,
    checked: &(&Version, ReadingService),
    administrator: bool,
) -> Result<()> {
    let checked = std::slice::from_ref(checked);
    write(caller, "secret.checked", checked, administrator)
}

fn write(
    caller: &Caller,
    action: &'static str,
    read_now: &[(&Version, ReadingService)],
    administrator: bool,
) -> Result<()> {
    durable::refuse_on_standby()?;
    let encoder = Encoder::new(caller);
    let mut records = Vec::with_capacity(read_now.len());
    // By it the records of a read of many are known from those of others at the same time.
    let read = (read_now.len() > 1).then(id::new).transpose()?;
    for (version, service) in read_now {
        let mut accessed = Record::new(action);
        accessed.project_id = Some(version.project_id.clone());
        accessed.secret_id = Some(version.id);
        accessed.name = Some(version.name.clone());
        accessed.version = Some(version.number);
        accessed.service.clone_from(&service.name);
        if service.verified {
            accessed.add_detail("verified", json!(true));
        }
        if let Some(read) = read {
            accessed.add_detail("read", json!(read));
        }
        records.push(encoder.encode(accessed.by_administrator(administrator))?);
    }
    durable::write_or_withdraw(&records, || withdrawal(&encoder, &records, read))
}

/// What is recorded where some of a read's records were written, and it failed for another.
fn withdrawal(encoder: &Encoder<'_>, records: &[Vec<u8>], read: Option<Uuid>) -> Option<Vec<u8>> {
    let mut withdrawn = Record::new("secret.not_released");
    withdrawn.outcome = "not released";
    withdrawn.detail = Some(match read {
        Some(read) => json!({"read": read}),
        None => json!({"record": Encoded::from_bytes(records.first()?)?.id}),
    });
    encoder.encode(withdrawn).ok()
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
    if !is_known(session, &denied)? {
        // Whoever invents names fills the table with no more than is of use.
        denied.project_id = denied.project_id.map(|text| shortened(&text));
        denied.name = denied.name.map(|text| shortened(&text));
    }
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

/// How much is recorded of the name of something that is not there, in characters.
const LONGEST_UNKNOWN: usize = 64;

static KNOWN: Statement = Statement::new(
    c"SELECT FROM control_plane.secret_names AS n WHERE n.project_id = $1 AND ($2 IS NULL OR n.name = $2) LIMIT 1",
);

/// Whether what a refused read names is there, where its names are longer than what is recorded of others.
fn is_known(session: &Session, denied: &Record) -> Result<bool> {
    let (project, name) = (denied.project_id.as_deref(), denied.name.as_deref());
    let long = |text: Option<&str>| text.is_some_and(|t| t.len() > LONGEST_UNKNOWN);
    if !long(project) && !long(name) {
        return Ok(true);
    }
    let named = session.run(&KNOWN, &[Param::Text(project), Param::Text(name)])?;
    Ok(named.first().is_some())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_UNKNOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
