//! `?dry_run=true`: what a change would break, in place of the change.

use crate::auth::Caller;
use crate::consumer::Consumers;
use crate::error::Error;
use crate::state::AppState;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.preview(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text
) AS v";

/// The query of a change that takes no other parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRun {
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// 200 with those whom the action (a name that the database knows) would break, or the error that the
/// action itself would get.
///
/// # Errors
/// What the database says.
pub(crate) async fn answer(
    caller: &Caller,
    state: &AppState,
    id: Uuid,
    action: &'static str,
) -> Result<Response, Error> {
    let rows = state
        .database
        .call(caller, STATEMENT, &[&id, &action])
        .await?;
    Ok(Json(Consumers::from_rows(&rows)?).into_response())
}
