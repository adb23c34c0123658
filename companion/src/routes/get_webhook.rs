//! `GET /api/webhooks/:id`: one endpoint.

use crate::auth::Caller;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::extract::{EndpointId, NoParameters, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.get_endpoint(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// 200 with the endpoint, without its signing secret; or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<Json<Endpoint>, Error> {
    let row = state.database.call_one(&caller, STATEMENT, &[&id]).await?;
    Ok(Json(Endpoint::from_row(&row)?))
}
