//! `POST /api/grants`: gives a permission. Giving it again is once, and gives it the new end.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, QueryOf};
use crate::grant::Grant;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.grant_project(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END,
    $4::text, $5::text, $6::text, $7::text, $8::text, $9::timestamptz
) AS v";

/// The grant to make; without `project_id` it is for every project, without `name_prefix` for every
/// name, without `expires_at` it never ends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGrant {
    grantee: String,
    permission: String,
    project_id: Option<String>,
    service: Option<String>,
    kind: Option<String>,
    name_prefix: Option<String>,
    expires_at: Option<Timestamp>,
}

impl JsonForm for NewGrant {
    const FORM: &'static str = r#"{"grantee": text, "permission": text, and if needed "project_id", "service", "kind", "name_prefix": text, "expires_at": RFC 3339 time}"#;
}

/// 201 with the grant.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(new): JsonBody<NewGrant>,
) -> Result<(StatusCode, Json<Grant>), Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[
                &new.grantee,
                &new.permission,
                &new.project_id,
                &new.service,
                &new.kind,
                &new.name_prefix,
                &new.expires_at,
            ],
        )
        .await?;
    Ok((StatusCode::CREATED, Json(Grant::from_row(&row)?)))
}
