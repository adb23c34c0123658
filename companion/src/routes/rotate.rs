//! `POST /api/secrets/:id/rotate`: a new value; the id must be the current version's.

use crate::answer;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, PathOf, QueryOf};
use crate::grace;
use crate::secret_text::SecretText;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.rotate_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text, $5::text, $6::text::interval
) AS v";

/// The new value, why it is new, and how long the old one stays readable.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    value: SecretText,
    rotation_reason: Option<String>,
    grace: Option<serde_json::Value>,
}

impl JsonForm for Rotation {
    const FORM: &'static str = r#"{"value": text, "rotation_reason": text or absent, "grace": seconds, ISO 8601 duration or absent}"#;
}

/// 201 with the new version, 404, or 409 with `current_id` for whoever came second.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(rotation): JsonBody<Rotation>,
) -> Result<Response, Error> {
    let grace = grace::interval(rotation.grace.as_ref())?;
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&id, &rotation.value, &rotation.rotation_reason, &grace],
        )
        .await?;
    answer::created(&row)
}
