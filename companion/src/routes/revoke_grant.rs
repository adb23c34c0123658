//! `DELETE /api/grants`: takes a grant back, named by the query as it was given.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

pub(super) const STATEMENT: &str = "
SELECT v.removed
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.revoke_project(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END,
    $4::text, $5::text, $6::text, $7::text, $8::text
) AS v(removed)";

/// Which grant; all that it was given with has to be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    grantee: String,
    permission: String,
    project_id: Option<String>,
    service: Option<String>,
    kind: Option<String>,
    name_prefix: Option<String>,
}

/// 204, or 404 where there is no such grant.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(named): QueryOf<Parameters>,
) -> Result<StatusCode, Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[
                &named.grantee,
                &named.permission,
                &named.project_id,
                &named.service,
                &named.kind,
                &named.name_prefix,
            ],
        )
        .await?;
    match row.try_get("removed")? {
        0 => Err(Error::Request(
            StatusCode::NOT_FOUND,
            "no such grant; it is named by all that it was given with, but for its end".into(),
        )),
        1.. | i32::MIN..0 => Ok(StatusCode::NO_CONTENT),
    }
}
