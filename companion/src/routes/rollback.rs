//! `POST /api/secrets/:id/rollback`: an older version's value again; the id must be the current
//! version's.

use crate::answer;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, PathOf, QueryOf};
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.rollback_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::integer, $5::text
) AS v";

/// Whose value it is to be, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    to_version: i32,
    rotation_reason: Option<String>,
}

impl JsonForm for Rollback {
    const FORM: &'static str = r#"{"to_version": number, "rotation_reason": text or absent}"#;
}

/// 201 with the new version, 404, 409 with `current_id` for whoever came second, or 410 where that
/// version is destroyed.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(rollback): JsonBody<Rollback>,
) -> Result<Response, Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&id, &rollback.to_version, &rollback.rotation_reason],
        )
        .await?;
    answer::created(&row)
}
