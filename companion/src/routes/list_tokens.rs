//! `GET /api/tokens`: the tokens there are, without their text.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.list_tokens(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END
) AS v
WHERE caller.subject IS NOT NULL";

/// Whose tokens to list; all of them where it is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    subject: Option<String>,
}

/// `control_plane.token`.
#[derive(Debug, Serialize)]
struct Token {
    id: Uuid,
    subject: String,
    service: Option<String>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    created_by: String,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl Token {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            subject: row.try_get("subject")?,
            service: row.try_get("service")?,
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Tokens {
    tokens: Vec<Token>,
}

/// 200 with all of them, oldest first, also those that are over.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Tokens>, Error> {
    let rows = state
        .database
        .call(&caller, STATEMENT, &[&query.subject])
        .await?;
    let tokens = rows.iter().map(Token::from_row).collect::<Result<_, _>>()?;
    Ok(Json(Tokens { tokens }))
}
