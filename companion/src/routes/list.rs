//! `GET /api/secrets?project_id=`: the secrets of a project, without values.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::secret::SecretSummary;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.list_secrets(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $5::text
) AS v
WHERE $4::text IS NULL OR v.name OPERATOR(pg_catalog.=) $4::text";

/// Which secrets to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    project_id: String,
    /// Only the secret of exactly this name.
    name: Option<String>,
    /// `deleted` for those that can be restored.
    state: Option<String>,
}

/// A page of secrets.
#[derive(Debug, Serialize)]
pub(crate) struct Secrets {
    secrets: Vec<SecretSummary>,
    next_cursor: Option<String>,
}

/// 200 with all of them, of one name perhaps several that are deleted; there is no second page.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Secrets>, Error> {
    let rows = state
        .database
        .call(
            &caller,
            STATEMENT,
            &[&query.project_id, &query.name, &query.state],
        )
        .await?;
    let secrets = rows
        .iter()
        .map(SecretSummary::from_row)
        .collect::<Result<_, _>>()?;
    Ok(Json(Secrets {
        secrets,
        next_cursor: None,
    }))
}
