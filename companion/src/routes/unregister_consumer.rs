//! `DELETE /api/secrets/:id/consumers/:service`: a service that reads the secret no longer.

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
LATERAL control_plane.unregister_consumer(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text
) AS v";

/// 204, or 404 where the secret has no such consumer.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf((id, service)): PathOf<(Uuid, String)>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<StatusCode, Error> {
    state
        .database
        .call_one(&caller, STATEMENT, &[&id, &service])
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
