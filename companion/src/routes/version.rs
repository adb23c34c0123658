//! `GET /api/secrets/:id/versions/:version`: one version of the secret that the id belongs to,
//! with its value.

use crate::answer;
use crate::auth::Caller;
use crate::condition::IfNoneMatch;
use crate::error::Error;
use crate::extract::{PathOf, QueryOf, ServiceHeader, ServiceQuery};
use crate::routes::unchanged::{self, Wanted};
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT
    v.*,
    CASE WHEN v.state OPERATOR(pg_catalog.=) 'grace' THEN control_plane.secret_id(v.project_id, v.name) END AS current_id
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.get_secret_version(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::integer, $5::text
) AS v";

/// 200 with the value, 304 where If-None-Match names the version, 404, or 410 with `current_id`.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf((id, version)): PathOf<(Uuid, i32)>,
    service: ServiceHeader,
    condition: IfNoneMatch,
    QueryOf(query): QueryOf<ServiceQuery>,
) -> Result<Response, Error> {
    let service = service.or(query.service);
    let wanted = Wanted {
        id: Some(id),
        version: Some(version),
        service: service.as_deref(),
        ..Wanted::default()
    };
    if let Some(unchanged) = unchanged::answer(&caller, &state, &condition, &wanted).await? {
        return Ok(unchanged);
    }
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&id, &version, &service])
        .await?;
    answer::revealed(&row)
}
