//! `POST /api/webhooks/:id/rotate-secret`: a new signing secret, shown in this answer and never again.

use crate::auth::Caller;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::extract::{EndpointId, JsonForm, NoParameters, OptionalJsonBody, QueryOf};
use crate::grace;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.rotate_endpoint_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, coalesce($4::text::interval, '24 hours')
) AS v";

/// How long the secret before it signs too; left out, a day.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    overlap: Option<serde_json::Value>,
}

impl JsonForm for Rotation {
    const FORM: &'static str = r#"{"overlap": seconds or ISO 8601 duration, or absent}"#;
}

/// 200 with the endpoint, its new signing secret, and until when the old one signs too; or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    OptionalJsonBody(rotation): OptionalJsonBody<Rotation>,
) -> Result<Json<Endpoint>, Error> {
    let overlap = grace::interval_of("overlap", rotation.overlap.as_ref())?;
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&id, &overlap])
        .await?;
    Ok(Json(Endpoint::from_row(&row)?))
}
