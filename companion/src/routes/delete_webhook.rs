//! `DELETE /api/webhooks/:id`: nothing is sent there any more.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{EndpointId, NoParameters, QueryOf};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;

pub(super) const STATEMENT: &str = "
SELECT
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.delete_endpoint(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// 204, or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<StatusCode, Error> {
    state.database.call_one(&caller, STATEMENT, &[&id]).await?;
    Ok(StatusCode::NO_CONTENT)
}
