//! `POST /api/webhooks`: where a service, or a whole project, wants its webhooks. The signing
//! secret is shown in this answer and never again.

use crate::answer;
use crate::auth::Caller;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, QueryOf};
use crate::secret_text::SecretText;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.create_endpoint(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::text, $5::text, $6::text[]
) AS v";

/// The endpoint to make; without `service` it is the whole project's, without `event_types` it
/// gets every event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEndpoint {
    project_id: String,
    url: SecretText,
    service: Option<String>,
    event_types: Option<Vec<String>>,
}

impl JsonForm for NewEndpoint {
    const FORM: &'static str = r#"{"project_id": text, "url": text, "service": text or absent, "event_types": [text, …] or absent}"#;
}

/// 201 with the endpoint and its signing secret.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(new): JsonBody<NewEndpoint>,
) -> Result<Response, Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&new.project_id, &new.url, &new.service, &new.event_types],
        )
        .await?;
    let endpoint = Endpoint::from_row(&row)?;
    let location = answer::header(["/api/webhooks/", &endpoint.id.to_string()].concat())?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(&endpoint)).into_response())
}
