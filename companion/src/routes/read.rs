//! `POST /api/projects/:project_id/read`: the current values of a project's secrets, all or those
//! named. What an application asks for once, at its start.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, PathOf, QueryOf, ServiceHeader, ServiceQuery};
use crate::secret::SecretValue;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.get_secrets(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::text[], $5::text
) AS v";

/// Which secrets; all of the project where no names are given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    names: Option<Vec<String>>,
}

impl JsonForm for Wanted {
    const FORM: &'static str = r#"{"names": [text, …]} or {}"#;
}

/// Secrets with their values.
#[derive(Debug, Serialize)]
pub(crate) struct Secrets {
    secrets: Vec<SecretValue>,
}

/// 200 with the values.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(project_id): PathOf<String>,
    service: ServiceHeader,
    QueryOf(query): QueryOf<ServiceQuery>,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Json<Secrets>, Error> {
    let service = service.or(query.service);
    let rows = state
        .database
        .call(&caller, STATEMENT, &[&project_id, &wanted.names, &service])
        .await?;
    let secrets = rows
        .iter()
        .map(SecretValue::from_row)
        .collect::<Result<_, _>>()?;
    Ok(Json(Secrets { secrets }))
}
