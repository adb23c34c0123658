//! `GET /api/audit`: the records of the audit, newest first, and beside the first page who was
//! refused how often.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use tokio_postgres::Row;
use uuid::Uuid;

pub(super) const RECORDS: &str = r#"
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.list_audit(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::uuid, $5::text, $6::text, $7::text,
    since => $8::timestamptz, until => $9::timestamptz, before => $10::uuid, "limit" => $11::integer
) AS v"#;

pub(super) const DENIED: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.denied_reads(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::timestamptz
) AS v";

/// How many records a page has where the request does not say.
const PAGE: i32 = 100;

/// Which records. Those that are left out ask for nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    project_id: Option<String>,
    secret_id: Option<Uuid>,
    actor: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: Option<i32>,
    cursor: Option<Uuid>,
}

/// A page of the audit.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    records: Vec<Record>,
    /// Where the next page begins; `None` behind the last.
    next_cursor: Option<Uuid>,
    /// For the same project and `since`; with the first page alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<Vec<DeniedActor>>,
}

/// `control_plane.audit_record`.
#[derive(Debug, Serialize)]
struct Record {
    id: Uuid,
    at: Timestamp,
    action: String,
    outcome: String,
    actor: String,
    login: Option<String>,
    project_id: Option<String>,
    secret_id: Option<Uuid>,
    name: Option<String>,
    version: Option<i32>,
    service: Option<String>,
    client_address: Option<IpAddr>,
    application_name: Option<String>,
    request_id: Option<String>,
    detail: Option<Value>,
}

impl Record {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            at: row.try_get("at")?,
            action: row.try_get("action")?,
            outcome: row.try_get("outcome")?,
            actor: row.try_get("actor")?,
            login: row.try_get("login")?,
            project_id: row.try_get("project_id")?,
            secret_id: row.try_get("secret_id")?,
            name: row.try_get("name")?,
            version: row.try_get("version")?,
            service: row.try_get("service")?,
            client_address: row.try_get("client_address")?,
            application_name: row.try_get("application_name")?,
            request_id: row.try_get("request_id")?,
            detail: row.try_get("detail")?,
        })
    }
}

/// `control_plane.denied_actor`.
#[derive(Debug, Serialize)]
struct DeniedActor {
    actor: String,
    count: i64,
    last_at: Timestamp,
}

impl DeniedActor {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            actor: row.try_get("actor")?,
            count: row.try_get("count")?,
            last_at: row.try_get("last_at")?,
        })
    }
}

/// 200 with a page, 403 without the permission `audit`, or 404 for a secret that the caller may
/// not see.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Page>, Error> {
    let limit = query.limit.unwrap_or(PAGE);
    let rows = state
        .database
        .call(
            &caller,
            RECORDS,
            &[
                &query.project_id,
                &query.secret_id,
                &query.actor,
                &query.action,
                &query.outcome,
                &query.since,
                &query.until,
                &query.cursor,
                &limit,
            ],
        )
        .await?;
    let records = rows
        .iter()
        .map(Record::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let full = usize::try_from(limit).is_ok_and(|limit| records.len() == limit);
    Ok(Json(Page {
        next_cursor: records
            .last()
            .filter(|_| full)
            .map(|record: &Record| record.id),
        denied: denied(&caller, &state, &query, &records).await?,
        records,
    }))
}

/// Who was refused in the project that the first page is about. For a secret that is asked for
/// without its project its records name that; where there are none, nothing is counted.
async fn denied(
    caller: &Caller,
    state: &AppState,
    query: &Parameters,
    records: &[Record],
) -> Result<Option<Vec<DeniedActor>>, Error> {
    let mut project = query.project_id.as_ref();
    if project.is_none() && query.secret_id.is_some() {
        project = records
            .first()
            .and_then(|record| record.project_id.as_ref());
        if project.is_none() {
            return Ok(None);
        }
    }
    if query.cursor.is_some() {
        return Ok(None);
    }
    let rows = state
        .database
        .call(caller, DENIED, &[&project, &query.since])
        .await?;
    let denied = rows
        .iter()
        .map(DeniedActor::from_row)
        .collect::<Result<_, _>>()?;
    Ok(Some(denied))
}
