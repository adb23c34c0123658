//! `GET /api/webhooks/:id/deliveries`: what an endpoint was told, newest first, and how that went.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{EndpointId, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

/// How many a page has where the request does not say.
const PAGE: i32 = 50;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.list_deliveries(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text, $5::uuid, $6::integer
) AS v";

/// Which. Those that are left out ask for nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    status: Option<String>,
    limit: Option<i32>,
    cursor: Option<Uuid>,
}

/// A page.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    deliveries: Vec<Delivery>,
    /// Where the next page begins; `None` behind the last.
    next_cursor: Option<Uuid>,
}

/// `control_plane.delivery`.
#[derive(Debug, Serialize)]
struct Delivery {
    id: Uuid,
    endpoint_id: Uuid,
    event_id: Uuid,
    webhook_id: String,
    #[serde(rename = "type")]
    kind: String,
    secret_id: Option<Uuid>,
    name: Option<String>,
    status: String,
    attempts: i32,
    next_attempt_at: Option<Timestamp>,
    last_status: Option<i32>,
    last_error: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
    tries: Value,
}

impl Delivery {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            endpoint_id: row.try_get("endpoint_id")?,
            event_id: row.try_get("event_id")?,
            webhook_id: row.try_get("webhook_id")?,
            kind: row.try_get("type")?,
            secret_id: row.try_get("secret_id")?,
            name: row.try_get("name")?,
            status: row.try_get("status")?,
            attempts: row.try_get("attempts")?,
            next_attempt_at: row.try_get("next_attempt_at")?,
            last_status: row.try_get("last_status")?,
            last_error: row.try_get("last_error")?,
            created_at: row.try_get("created_at")?,
            finished_at: row.try_get("finished_at")?,
            tries: row.try_get("tries")?,
        })
    }
}

/// 200 with a page, or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Page>, Error> {
    let limit = query.limit.unwrap_or(PAGE);
    let rows = state
        .database
        .call(
            &caller,
            STATEMENT,
            &[&id, &query.status, &query.cursor, &limit],
        )
        .await?;
    let deliveries = rows
        .iter()
        .map(Delivery::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let full = usize::try_from(limit).is_ok_and(|limit| deliveries.len() == limit);
    Ok(Json(Page {
        next_cursor: deliveries
            .last()
            .filter(|_| full)
            .map(|delivery| delivery.event_id),
        deliveries,
    }))
}
