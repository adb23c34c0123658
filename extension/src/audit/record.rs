//! One record of the audit log, and the one place that writes it.

use crate::access::identity::Caller;
use crate::audit::encoded::{self, Encoded};
use crate::backend::client;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::workers::wake;
use serde_json::{Value, json};
use std::borrow::Cow;
use uuid::Uuid;

/// What happened, to what. Who did it comes from the caller. Ids and names only: no field of it is
/// ever given a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) action: &'static str,
    /// How it ended: success, denied.
    pub(crate) outcome: &'static str,
    pub(crate) project_id: Option<String>,
    pub(crate) secret_id: Option<Uuid>,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<i32>,
    pub(crate) service: Option<String>,
    pub(crate) detail: Option<Value>,
}

impl Record {
    pub(crate) fn new(action: &'static str) -> Self {
        Self {
            action,
            outcome: "success",
            ..Self::default()
        }
    }

    /// Marks that the right to do it was an administrator's.
    pub(crate) fn by_administrator(mut self, administrator: bool) -> Self {
        if administrator {
            self.add_detail("administrator", json!(true));
        }
        self
    }

    pub(crate) fn add_detail(&mut self, key: &str, value: Value) {
        let detail = self.detail.get_or_insert_with(|| json!({}));
        if let Some(object) = detail.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    }
}

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.audit_logs (id, action, outcome, actor, login, project_id, secret_id, name, version, service, client_address, application_name, request_id, detail) VALUES ($1, $2, $14, $3, $4, $5, $6, $7, $8, $9, coalesce($10::inet, pg_catalog.inet_client_addr()), coalesce($11, pg_catalog.current_setting('application_name')), $12, $13::jsonb)",
);

static UNCHAINED: Statement =
    Statement::new(c"INSERT INTO control_plane.audit_unchained (record_id) VALUES ($1)");

/// Writes a record in the current transaction; it is chained once that is committed.
pub(crate) fn write(session: &Session, caller: &Caller, mut record: Record) -> Result<()> {
    if let Some(role) = &caller.role {
        record.add_detail("role", json!(role));
    }
    let detail = record.detail.as_ref().map(Value::to_string);
    let id = Param::Uuid(Some(id::new()?));
    session.run(
        &INSERT,
        &[
            id,
            Param::Text(Some(record.action)),
            Param::Text(Some(&caller.actor)),
            Param::Text(Some(&caller.login)),
            Param::Text(record.project_id.as_deref()),
            Param::Uuid(record.secret_id),
            Param::Text(record.name.as_deref()),
            Param::Integer(record.version),
            Param::Text(record.service.as_deref()),
            Param::Text(caller.request.client_address.as_deref()),
            Param::Text(caller.request.application_name.as_deref()),
            Param::Text(caller.request.id.as_deref()),
            Param::Text(detail.as_deref()),
            Param::Text(Some(record.outcome)),
        ],
    )?;
    session.run(&UNCHAINED, &[id])?;
    wake::recorded();
    Ok(())
}

/// Forms records of one caller as the audit worker takes them.
pub(crate) struct Encoder<'c> {
    caller: &'c Caller,
    client_address: Option<String>,
    application_name: Option<String>,
}

impl<'c> Encoder<'c> {
    /// Looks once where the caller comes from.
    pub(crate) fn new(caller: &'c Caller) -> Self {
        let request = &caller.request;
        let address = || client::address().map(|address| address.to_string());
        Self {
            caller,
            client_address: request.client_address.clone().or_else(address),
            application_name: request
                .application_name
                .clone()
                .or_else(client::application_name),
        }
    }

    /// The record in the form of the ring. Texts of the caller's are cut to what a name may have: an
    /// attempt may name anything.
    pub(crate) fn encode(&self, mut record: Record) -> Result<Vec<u8>> {
        let caller = self.caller;
        if let Some(role) = &caller.role {
            record.add_detail("role", json!(role));
        }
        let detail = record.detail.as_ref().map(Value::to_string);
        let actor = cut(Some(&caller.actor));
        let login = cut(Some(&caller.login));
        let project_id = cut(record.project_id.as_deref());
        let name = cut(record.name.as_deref());
        let service = cut(record.service.as_deref());
        let application_name = cut(self.application_name.as_deref());
        let request_id = cut(caller.request.id.as_deref());
        let mut texts = [None; encoded::TEXTS];
        texts[encoded::ACTION] = Some(record.action);
        texts[encoded::OUTCOME] = Some(record.outcome);
        texts[encoded::ACTOR] = actor.as_deref();
        texts[encoded::LOGIN] = login.as_deref();
        texts[encoded::PROJECT_ID] = project_id.as_deref();
        texts[encoded::NAME] = name.as_deref();
        texts[encoded::SERVICE] = service.as_deref();
        texts[encoded::CLIENT_ADDRESS] = self.client_address.as_deref();
        texts[encoded::APPLICATION_NAME] = application_name.as_deref();
        texts[encoded::REQUEST_ID] = request_id.as_deref();
        texts[encoded::DETAIL] = detail.as_deref();
        let encoded = Encoded {
            id: id::new()?,
            at: id::now(),
            secret_id: record.secret_id,
            version: record.version,
            texts,
        };
        encoded
            .to_bytes()
            .ok_or_else(|| Error::internal("a record of the audit is too long"))
    }
}

/// The longest text in a record, in characters.
const LONGEST_TEXT: usize = 255;

/// The text as it is recorded: short, and without what could forge a line where it is shown.
fn cut(text: Option<&str>) -> Option<Cow<'_, str>> {
    let forges = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let replaced = |c: char| if forges(c) { '\u{fffd}' } else { c };
    text.map(|text| {
        // A byte for each character is the least that they take.
        if text.len() <= LONGEST_TEXT && !text.contains(forges) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(text.chars().take(LONGEST_TEXT).map(replaced).collect())
        }
    })
}
