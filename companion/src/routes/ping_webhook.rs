//! `POST /api/webhooks/:id/ping`: the event endpoint.ping, for this endpoint alone.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{EndpointId, NoBody, NoParameters, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.ping_endpoint(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v(delivery_id)";

/// What was set going; the deliveries of the endpoint say how it ends.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    delivery_id: Uuid,
}

/// 202 with the delivery, 404, or 409 where the endpoint is disabled.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    NoBody: NoBody,
) -> Result<(StatusCode, Json<Sent>), Error> {
    let row = state.database.call_one(&caller, STATEMENT, &[&id]).await?;
    let sent = Sent {
        delivery_id: row.try_get("delivery_id")?,
    };
    Ok((StatusCode::ACCEPTED, Json(sent)))
}
