//! An endpoint as the API shows it.

use crate::secret_text::{Revealed, SecretText};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio_postgres::Row;
use uuid::Uuid;

/// `control_plane.endpoint`. The URL is treated as a secret too: it may carry a token.
#[derive(Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) id: Uuid,
    project_id: String,
    service: Option<String>,
    #[serde(serialize_with = "Revealed::serialize_field")]
    url: SecretText,
    event_types: Option<Vec<String>>,
    enabled: bool,
    created_by: String,
    created_at: Timestamp,
    disabled_reason: Option<String>,
    failing_since: Option<Timestamp>,
    not_before: Option<Timestamp>,
    previous_secret_until: Option<Timestamp>,
    /// In the answer that made it, and in no other.
    #[serde(
        serialize_with = "serialize_optional",
        skip_serializing_if = "Option::is_none"
    )]
    secret: Option<SecretText>,
}

fn serialize_optional<S: Serializer>(
    secret: &Option<SecretText>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => Revealed::serialize_field(secret, serializer),
        None => serializer.serialize_none(),
    }
}

impl Endpoint {
    /// # Errors
    /// Where the row is not a `control_plane.endpoint`.
    pub(crate) fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            project_id: row.try_get("project_id")?,
            service: row.try_get("service")?,
            url: row.try_get("url")?,
            event_types: row.try_get("event_types")?,
            enabled: row.try_get("enabled")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            disabled_reason: row.try_get("disabled_reason")?,
            failing_since: row.try_get("failing_since")?,
            not_before: row.try_get("not_before")?,
            previous_secret_until: row.try_get("previous_secret_until")?,
            secret: row.try_get("secret")?,
        })
    }
}
