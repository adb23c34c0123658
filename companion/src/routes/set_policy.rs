//! `PUT /api/projects/:project_id/policy`: the whole policy of a project.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, NoParameters, PathOf, QueryOf};
use crate::grace;
use crate::policy::{NewPolicy, Policy};
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
LATERAL control_plane.set_policy(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END,
    $4::text::interval, $5::boolean, $6::text::interval
) AS v";

/// 200 with the policy as it is now, or 403.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(project): PathOf<String>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(new): JsonBody<NewPolicy>,
) -> Result<Json<Policy>, Error> {
    let grace = grace::interval(new.grace.as_ref())?;
    let limit = grace::interval_of("hold_limit", new.hold_limit.as_ref())?;
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&project, &grace, &new.hold_for_stragglers, &limit],
        )
        .await?;
    Ok(Json(Policy::from_row(&row)?))
}
