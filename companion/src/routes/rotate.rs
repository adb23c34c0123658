//! `POST /api/secrets/:id/rotate`: a new value; the id must be the current version's. With
//! `?dry_run=true` only who would break, were the old value gone at once.

use crate::answer;
use crate::auth::Caller;
use crate::condition::IfMatch;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, PathOf, QueryOf};
use crate::grace;
use crate::routes::dry_run::{self, DryRun};
use crate::secret_text::SecretText;
use crate::state::AppState;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.rotate_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text, $5::text, $6::text::interval
) AS v";

/// The new value (without one the secret's generator makes it), why it is new, and how long the old one
/// stays readable.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    value: Option<SecretText>,
    rotation_reason: Option<String>,
    grace: Option<serde_json::Value>,
}

impl JsonForm for Rotation {
    const FORM: &'static str = r#"{"value": text or absent, "rotation_reason": text or absent, "grace": seconds, ISO 8601 duration or absent}"#;
}

/// 201 with the new version, or 200 with consumers for a dry run; 404, or with `current_id` for whoever came
/// second 409, or 412 where the request has an If-Match. (The path names the version that has to be current
/// anyhow; an If-Match that names others cannot be met.)
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(query): QueryOf<DryRun>,
    condition: IfMatch,
    request: Request,
) -> Result<Response, Error> {
    if !condition.allows(id) {
        return Err(Error::precondition_failed());
    }
    // Before the body, which a dry run need not have.
    if query.dry_run {
        return dry_run::answer(&caller, &state, id, "rotate").await;
    }
    let JsonBody(rotation) = JsonBody::<Rotation>::from_request(request, &state).await?;
    let grace = grace::interval(rotation.grace.as_ref())?;
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&id, &rotation.value, &rotation.rotation_reason, &grace],
        )
        .await
        .map_err(|error| match condition.is_there() {
            true => error.of_precondition(),
            false => error,
        })?;
    answer::created(&row)
}
