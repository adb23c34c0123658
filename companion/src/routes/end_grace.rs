//! `POST /api/secrets/:id/end-grace`: a version in grace destroyed at once.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{NoBody, NoParameters, PathOf, QueryOf};
use crate::secret::SecretVersion;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.end_grace(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// 200 with the destroyed version, 404, 409 for the current version, or 410 where the grace is over.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    NoBody: NoBody,
) -> Result<Json<SecretVersion>, Error> {
    let row = state.database.call_one(&caller, STATEMENT, &[&id]).await?;
    Ok(Json(SecretVersion::from_row(&row)?))
}
