//! `GET /api/audit/head`: the signed head of the audit's chain, to be kept where the database's
//! administrators cannot change it.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{NoParameters, QueryOf};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

pub(super) const STATEMENT: &str = "
SELECT CASE WHEN caller.subject IS NOT NULL THEN control_plane.export_audit_head() END AS head
FROM control_plane.authenticate($1, $2) AS caller(subject)";

/// The head.
#[derive(Debug, Serialize)]
pub(crate) struct Head {
    head: String,
}

/// 200 with the head, 403 without `audit` on every project, 404 where nothing is chained yet, or 503 where no
/// key can sign.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
) -> Result<Json<Head>, Error> {
    let row = state.database.call_one(&caller, STATEMENT, &[]).await?;
    Ok(Json(Head {
        head: row.try_get("head")?,
    }))
}
