//! `DELETE /api/tokens/:id`: the next request that brings the token fails.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{NoParameters, PathOf, QueryOf};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.revoke_token(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// 204, or 404 where there is no such token, or the caller may not know of it.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<StatusCode, Error> {
    state.database.call_one(&caller, STATEMENT, &[&id]).await?;
    Ok(StatusCode::NO_CONTENT)
}
