//! `DELETE /api/secrets/:id`: the whole secret, restorable until `purge_at`. With `?dry_run=true` only who
//! would break.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{PathOf, QueryOf};
use crate::routes::dry_run;
use crate::secret::SecretVersion;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.delete_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text
) AS v";

/// Why, and whether at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    reason: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// 200 with the version that was current, its `deleted_at` and `purge_at` set, or with
/// consumers for a dry run; or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Response, Error> {
    if query.dry_run {
        return dry_run::answer(&caller, &state, id, "delete").await;
    }
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&id, &query.reason])
        .await?;
    Ok(Json(SecretVersion::from_row(&row)?).into_response())
}
