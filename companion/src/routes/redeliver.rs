//! `POST /api/webhooks/:id/redeliver`: what was sent before, or could not be, once more.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{EndpointId, JsonBody, JsonForm, NoParameters, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.redeliver(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::uuid, $5::timestamptz, $6::timestamptz
) AS v(redelivered)";

/// One delivery, or all of a range of time that are not delivered: dead letters, and what waits for a try.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    delivery_id: Option<Uuid>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl JsonForm for Which {
    const FORM: &'static str =
        r#"{"delivery_id": uuid}, or {"since": RFC 3339 time, "until": time or absent}"#;
}

/// How many are sent again.
#[derive(Debug, Serialize)]
pub(crate) struct Redelivered {
    redelivered: i32,
}

/// 202 with how many there are, 404, or 409 where the endpoint is disabled.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(which): JsonBody<Which>,
) -> Result<(StatusCode, Json<Redelivered>), Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&id, &which.delivery_id, &which.since, &which.until],
        )
        .await?;
    let redelivered = Redelivered {
        redelivered: row.try_get("redelivered")?,
    };
    Ok((StatusCode::ACCEPTED, Json(redelivered)))
}
