//! `GET /api/projects/:project_id/secrets/:name`: the current version of a name, or the version
//! asked for, with its value.

use crate::answer;
use crate::auth::Caller;
use crate::condition::IfNoneMatch;
use crate::error::Error;
use crate::extract::{PathOf, QueryOf, ServiceHeader};
use crate::routes::unchanged::{self, Wanted};
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

pub(super) const STATEMENT: &str = "
SELECT
    v.*,
    CASE WHEN v.state OPERATOR(pg_catalog.=) 'grace' THEN control_plane.secret_id(v.project_id, v.name) END AS current_id
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.get_secret_by_name(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::text, $5::integer, $6::text
) AS v";

/// Which version, and who reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    version: Option<i32>,
    service: Option<String>,
}

/// 200 with the value, 304 where If-None-Match names the version, 404, or 410 with `current_id`.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf((project_id, name)): PathOf<(String, String)>,
    service: ServiceHeader,
    condition: IfNoneMatch,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Response, Error> {
    let service = service.or(query.service);
    let wanted = Wanted {
        name: Some((&project_id, &name)),
        version: query.version,
        service: service.as_deref(),
        ..Wanted::default()
    };
    if let Some(unchanged) = unchanged::answer(&caller, &state, &condition, &wanted).await? {
        return Ok(unchanged);
    }
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&project_id, &name, &query.version, &service],
        )
        .await?;
    answer::revealed(&row)
}
