//! `GET /api/secrets/:id/versions`: every version of the secret, newest first, without values.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{NoParameters, PathOf, QueryOf};
use crate::secret::SecretVersion;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.secret_versions(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END
) AS v";

/// The history of a secret.
#[derive(Debug, Serialize)]
pub(crate) struct Versions {
    versions: Vec<SecretVersion>,
}

/// 200 with all versions, or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<Json<Versions>, Error> {
    let rows = state.database.call(&caller, STATEMENT, &[&id]).await?;
    let versions = rows
        .iter()
        .map(SecretVersion::from_row)
        .collect::<Result<_, _>>()?;
    Ok(Json(Versions { versions }))
}
