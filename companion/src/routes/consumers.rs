//! `GET /api/secrets/:id/consumers`: the blast radius of a secret.

use crate::auth::Caller;
use crate::consumer::Consumers;
use crate::error::Error;
use crate::extract::{NoParameters, PathOf, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.blast_radius(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// 200 with everybody who reads the secret or is expected to, stragglers first; or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<Json<Consumers>, Error> {
    let rows = state.database.call(&caller, STATEMENT, &[&id]).await?;
    Ok(Json(Consumers::from_rows(&rows)?))
}
