//! `POST /api/tokens`: a bearer token for a subject. The token is shown in this answer and never again.

use crate::answer;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, QueryOf};
use crate::secret_text::{Revealed, SecretText};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT made.token, control_plane.token_id(made.token) AS id
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.create_token(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::text, $5::timestamptz
) AS made(token)";

/// The token to make; without `service` it reads for any, without `expires_at` it never ends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    subject: String,
    service: Option<String>,
    expires_at: Option<Timestamp>,
}

impl JsonForm for NewToken {
    const FORM: &'static str =
        r#"{"subject": text, "service": text or absent, "expires_at": RFC 3339 time or absent}"#;
}

#[derive(Debug, Serialize)]
struct Made {
    id: Uuid,
    subject: String,
    service: Option<String>,
    expires_at: Option<Timestamp>,
    #[serde(serialize_with = "Revealed::serialize_field")]
    token: SecretText,
}

/// 201 with the token.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(new): JsonBody<NewToken>,
) -> Result<Response, Error> {
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&new.subject, &new.service, &new.expires_at],
        )
        .await?;
    let made = Made {
        id: row.try_get("id")?,
        subject: new.subject,
        service: new.service,
        expires_at: new.expires_at,
        token: row.try_get("token")?,
    };
    let location = answer::header(["/api/tokens/", &made.id.to_string()].concat())?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(&made)).into_response())
}
