//! `PATCH /api/webhooks/:id`: another URL, other events, enabled or not.

use crate::auth::Caller;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::extract::{EndpointId, JsonBody, JsonForm, NoParameters, QueryOf};
use crate::secret_text::SecretText;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.update_endpoint(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text, $5::text[], $6::boolean
) AS v";

/// What is to change. `event_types: null` is all events, as at the endpoint's making.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    url: Option<SecretText>,
    #[serde(default, deserialize_with = "all_or_these")]
    event_types: Option<Vec<String>>,
    enabled: Option<bool>,
}

/// Told apart from a member that is left out. No kind at all is what the database takes for all.
fn all_or_these<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let kinds: Option<Vec<String>> = Option::deserialize(from)?;
    Ok(Some(kinds.unwrap_or_default()))
}

impl JsonForm for Change {
    const FORM: &'static str = r#"{"url": text, "event_types": [text, …] or null for all, "enabled": boolean}, each may be absent"#;
}

/// 200 with the endpoint as it is now; or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    EndpointId(id): EndpointId,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(change): JsonBody<Change>,
) -> Result<Json<Endpoint>, Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&id, &change.url, &change.event_types, &change.enabled],
        )
        .await?;
    Ok(Json(Endpoint::from_row(&row)?))
}
