//! `GET /api/projects/:project_id/policy`: what holds for a project.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{NoParameters, PathOf, QueryOf};
use crate::policy::Policy;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;

pub(super) const STATEMENT: &str = "
SELECT
    v.project_id,
    pg_catalog.trim_scale(extract(epoch FROM v.grace))::text AS grace,
    v.hold_for_stragglers,
    pg_catalog.trim_scale(extract(epoch FROM v.hold_limit))::text AS hold_limit
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.project_policy(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END
) AS v";

/// 200 with the policy, also where nobody has set one; or 403.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(project): PathOf<String>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<Json<Policy>, Error> {
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&project])
        .await?;
    Ok(Json(Policy::from_row(&row)?))
}
