//! `POST /api/secrets/:id/purge`: a deleted secret removed for good.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonForm, NoParameters, OptionalJsonBody, PathOf, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.purged
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.purge_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text
) AS v(purged)";

/// Why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purge {
    reason: Option<String>,
}

impl JsonForm for Purge {
    const FORM: &'static str = r#"{"reason": text or absent}, or nothing"#;
}

/// How many versions were removed.
#[derive(Debug, Serialize)]
pub(crate) struct Purged {
    purged: i32,
}

/// 200 with how many versions it had, 404, or 409 where it is not deleted.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    OptionalJsonBody(purge): OptionalJsonBody<Purge>,
) -> Result<Json<Purged>, Error> {
    let row = state
        .database
        .call_one(&caller, STATEMENT, &[&id, &purge.reason])
        .await?;
    Ok(Json(Purged {
        purged: row.try_get("purged")?,
    }))
}
