//! `GET /api/grants`: who may do what in a project, or in all of them.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::grant::Grant;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.project_grants(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END
) AS v
WHERE caller.subject IS NOT NULL";

/// Which project's grants to list; an administrator may leave it out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    project_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Grants {
    grants: Vec<Grant>,
}

/// 200 with all of them, or 403.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Grants>, Error> {
    let rows = state
        .database
        .call(&caller, STATEMENT, &[&query.project_id])
        .await?;
    let grants = rows.iter().map(Grant::from_row).collect::<Result<_, _>>()?;
    Ok(Json(Grants { grants }))
}
