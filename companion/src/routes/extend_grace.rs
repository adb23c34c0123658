//! `POST /api/secrets/:id/extend-grace`: more time for a version in grace.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, PathOf, QueryOf};
use crate::grace;
use crate::secret::SecretVersion;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.extend_grace(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text::interval
) AS v";

/// How much more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extension {
    by: serde_json::Value,
}

impl JsonForm for Extension {
    const FORM: &'static str = r#"{"by": seconds or ISO 8601 duration}"#;
}

/// 200 with the version and its new `expires_at`, 404, 409 for the current version, or 410 where
/// the grace is over.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(extension): JsonBody<Extension>,
) -> Result<Json<SecretVersion>, Error> {
    let by = grace::interval_of("by", Some(&extension.by))?;
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&id, &by])
        .await?;
    Ok(Json(SecretVersion::from_row(&row)?))
}
