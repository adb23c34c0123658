//! `POST /api/secrets/:id/end-grace`: a version in grace destroyed at once. With `?dry_run=true` only who
//! would break.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{NoBody, PathOf, QueryOf};
use crate::routes::dry_run::{self, DryRun};
use crate::secret::SecretVersion;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.end_grace(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// 200 with the destroyed version, or with consumers for a dry run; 404, 409 for the current version, or 410 where the grace is over.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(query): QueryOf<DryRun>,
    NoBody: NoBody,
) -> Result<Response, Error> {
    if query.dry_run {
        return dry_run::answer(&caller, &state, id, "end_grace").await;
    }
    let row = state.database.call_one(&caller, STATEMENT, &[&id]).await?;
    Ok(Json(SecretVersion::from_row(&row)?).into_response())
}
