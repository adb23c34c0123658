//! `PUT /api/secrets/:id/rotation`: how a secret's values are made, and how often it is due.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{JsonBody, JsonForm, NoParameters, PathOf, QueryOf};
use crate::grace;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use tokio_postgres::Row;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT
    v.chain_id,
    pg_catalog.trim_scale(extract(epoch FROM v.rotate_every))::text AS rotate_every,
    v.length,
    v.alphabet,
    v.next_rotation_at
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.set_rotation(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text::interval, $5::integer, $6::text
) AS v";

/// The whole of it; what is absent or null is taken back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRotation {
    rotate_every: Option<Value>,
    length: Option<i32>,
    alphabet: Option<String>,
}

impl JsonForm for NewRotation {
    const FORM: &'static str = r#"{"rotate_every": seconds, ISO 8601 duration or absent, "length": number or absent, "alphabet": text or absent}"#;
}

/// `control_plane.rotation`, with `rotate_every` in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Rotation {
    chain_id: Uuid,
    rotate_every: Option<Number>,
    length: Option<i32>,
    alphabet: Option<String>,
    next_rotation_at: Option<Timestamp>,
}

impl Rotation {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            chain_id: row.try_get("chain_id")?,
            rotate_every: grace::seconds(row.try_get("rotate_every")?)?,
            length: row.try_get("length")?,
            alphabet: row.try_get("alphabet")?,
            next_rotation_at: row.try_get("next_rotation_at")?,
        })
    }
}

/// 200 with what is set now, or 404.
pub(crate) async fn handle(
    caller: Caller,
    State(state): State<AppState>,
    PathOf(id): PathOf<Uuid>,
    QueryOf(NoParameters {}): QueryOf<NoParameters>,
    JsonBody(new): JsonBody<NewRotation>,
) -> Result<Json<Rotation>, Error> {
    let period = grace::interval_of("rotate_every", new.rotate_every.as_ref())?;
    let row = state
        .database
        .call_one(
            &caller,
            STATEMENT,
            &[&id, &period, &new.length, &new.alphabet],
        )
        .await?;
    Ok(Json(Rotation::from_row(&row)?))
}
