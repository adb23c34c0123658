//! `POST /api/secrets`: a new secret.

use crate::answer;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, QueryOf};
use crate::secret_text::SecretText;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.create_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::text, $5::text
) AS v";

/// What to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    project_id: String,
    name: String,
    value: SecretText,
}

impl JsonForm for NewSecret {
    const FORM: &'static str = r#"{"project_id": text, "name": text, "value": text}"#;
}

/// 201 with the first version, 409 where the name is taken.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(new): JsonBody<NewSecret>,
) -> Result<Response, Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&new.project_id, &new.name, &new.value],
        )
        .await?;
    answer::created(&row)
}
