//! `DELETE /api/secrets/:id`: the whole secret, restorable until `purge_at`.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{PathOf, QueryOf};
use crate::secret::SecretVersion;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.delete_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text
) AS v";

/// Why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    reason: Option<String>,
}

/// 200 with the version that was current, its `deleted_at` and `purge_at` set; or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<SecretVersion>, Error> {
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&id, &query.reason])
        .await?;
    Ok(Json(SecretVersion::from_row(&row)?))
}
