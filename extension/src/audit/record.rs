//! One record of the audit log, and the one place that writes it.

use crate::access::identity::Caller;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::id;
use serde_json::{Value, json};
use uuid::Uuid;

/// What happened, to what. Who did it comes from the caller. Ids and names only: no field of it is
/// ever given a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) action: &'static str,
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
    c"INSERT INTO control_plane.audit_logs (id, action, outcome, actor, login, project_id, secret_id, name, version, service, client_address, application_name, request_id, detail) VALUES ($1, $2, 'success', $3, $4, $5, $6, $7, $8, $9, coalesce($10::inet, pg_catalog.inet_client_addr()), coalesce($11, pg_catalog.current_setting('application_name')), $12, $13::jsonb)",
);

/// Writes a record in the current transaction.
pub(crate) fn write(session: &Session, caller: &Caller, mut record: Record) -> Result<()> {
    if let Some(role) = &caller.role {
        record.add_detail("role", json!(role));
    }
    let detail = record.detail.as_ref().map(Value::to_string);
    session.run(
        &INSERT,
        &[
            Param::Uuid(Some(id::new()?)),
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
        ],
    )?;
    Ok(())
}

static SURROUNDINGS: Statement = Statement::new(
    c"SELECT pg_catalog.host(pg_catalog.inet_client_addr()), pg_catalog.current_setting('application_name')",
);

/// Forms records of one caller as the audit worker takes them.
pub(crate) struct Encoder<'c> {
    caller: &'c Caller,
    client_address: Option<String>,
    application_name: Option<String>,
}

impl<'c> Encoder<'c> {
    /// Looks once where the caller comes from.
    pub(crate) fn new(session: &Session, caller: &'c Caller) -> Result<Self> {
        let surroundings = session.run(&SURROUNDINGS, &[])?.first();
        let surrounding = |column| surroundings.as_ref().and_then(|row| row.text(column));
        let request = &caller.request;
        let own = |text: &Option<String>, column| text.clone().or_else(|| surrounding(column));
        Ok(Self {
            caller,
            client_address: own(&request.client_address, 0),
            application_name: own(&request.application_name, 1),
        })
    }

    /// The record: a JSON object of the columns, `at` in microseconds since 2000. Texts of the
    /// caller's are cut to what a name may have: an attempt may name anything.
    pub(crate) fn encode(&self, mut record: Record, outcome: &str) -> Result<Vec<u8>> {
        let caller = self.caller;
        if let Some(role) = &caller.role {
            record.add_detail("role", json!(role));
        }
        let object = json!({
            "id": id::new()?,
            "at": id::now(),
            "action": record.action,
            "outcome": outcome,
            "actor": cut(Some(&caller.actor)),
            "login": cut(Some(&caller.login)),
            "project_id": cut(record.project_id.as_deref()),
            "secret_id": record.secret_id,
            "name": cut(record.name.as_deref()),
            "version": record.version,
            "service": cut(record.service.as_deref()),
            "client_address": self.client_address,
            "application_name": cut(self.application_name.as_deref()),
            "request_id": cut(caller.request.id.as_deref()),
            "detail": record.detail,
        });
        Ok(object.to_string().into_bytes())
    }
}

/// The longest text in a record, in characters.
const LONGEST_TEXT: usize = 255;

fn cut(text: Option<&str>) -> Option<String> {
    let replaced = |c: char| match c {
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => '\u{fffd}',
        c => c,
    };
    text.map(|text| text.chars().take(LONGEST_TEXT).map(replaced).collect())
}
