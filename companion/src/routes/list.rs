//! `GET /api/secrets?project_id=`: the secrets of a project, without values, in pages.

use crate::auth::Caller;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::extract::QueryOf;
use crate::secret::SecretSummary;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

pub(super) const STATEMENT: &str = r#"
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.list_secrets_page(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END,
    $4::text, $5::text, $6::text, $7::text, $8::uuid, "limit" => $9::integer
) AS v"#;

/// How many secrets a page has where the request does not say.
const PAGE: u16 = 100;

/// How many it has at most.
const LONGEST_PAGE: u16 = 1000;

/// Which secrets to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    project_id: String,
    /// Only the secret of exactly this name.
    name: Option<String>,
    /// Only those whose names begin so.
    prefix: Option<String>,
    /// `deleted` for those that can be restored.
    state: Option<String>,
    limit: Option<u16>,
    cursor: Option<String>,
}

/// A page of secrets.
#[derive(Debug, Serialize)]
pub(crate) struct Secrets {
    secrets: Vec<SecretSummary>,
    /// Where the next page begins; `None` with the last.
    next_cursor: Option<String>,
}

/// 200 with a page in the order of names; of one name perhaps several that are deleted.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(query): QueryOf<Parameters>,
) -> Result<Json<Secrets>, Error> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Error::bad_request("limit must be 1 to 1000"));
    }
    let after = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let (after_name, after_id) = match after {
        Some(after) => (Some(after.name), Some(after.id)),
        None => (None, None),
    };
    // One more, to know whether there is another page.
    let asked = i32::from(limit) + 1;
    let rows = state
        .database
        .call(
            &caller,
            STATEMENT,
            &[
                &query.project_id,
                &query.state,
                &query.name,
                &query.prefix,
                &after_name,
                &after_id,
                &asked,
            ],
        )
        .await?;
    let shown = &rows[..rows.len().min(limit.into())];
    let secrets = shown
        .iter()
        .map(SecretSummary::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let last = shown.last().filter(|_| rows.len() > shown.len());
    let next_cursor = match last {
        Some(row) => {
            let (name, id) = (row.try_get("name")?, row.try_get("id")?);
            Some(Cursor { name, id }.encode())
        }
        None => None,
    };
    Ok(Json(Secrets {
        secrets,
        next_cursor,
    }))
}
