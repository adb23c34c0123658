//! `GET /api/webhooks?project_id=`: the endpoints of a project.

use crate::auth::Caller;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.list_endpoints(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END
) AS v";

/// Of which project.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    project_id: String,
}

/// All of them, the oldest first.
#[derive(Debug, Serialize)]
pub(crate) struct Endpoints {
    webhooks: Vec<Endpoint>,
    next_cursor: Option<String>,
}

/// 200 with all endpoints of the project, without their signing secrets.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Endpoints>, Error> {
    let rows = state
        .database
        .call(&caller, STATEMENT, &[&query.project_id])
        .await?;
    Ok(Json(Endpoints {
        webhooks: rows
            .iter()
            .map(Endpoint::from_row)
            .collect::<Result<_, _>>()?,
        next_cursor: None,
    }))
}
