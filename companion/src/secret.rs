//! Secrets as answers show them: the columns of the database's composite types by their own names.

use crate::secret_text::{Revealed, SecretText};
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// `control_plane.secret_version`: a version without its value. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize)]
pub(crate) struct SecretVersion {
    pub(crate) id: Uuid,
    chain_id: Uuid,
    project_id: String,
    name: String,
    version: i32,
    active: bool,
    rotated_from: Option<Uuid>,
    rotation_reason: Option<String>,
    created_by: String,
    created_at: Timestamp,
    pub(crate) superseded_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    warned_at: Option<Timestamp>,
    destroyed_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    purge_at: Option<Timestamp>,
    key_fingerprint: Option<String>,
    state: String,
}

impl SecretVersion {
    /// # Errors
    /// Where the row lacks a column, or has one of another type.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            chain_id: row.try_get("chain_id")?,
            project_id: row.try_get("project_id")?,
            name: row.try_get("name")?,
            version: row.try_get("version")?,
            active: row.try_get("active")?,
            rotated_from: row.try_get("rotated_from")?,
            rotation_reason: row.try_get("rotation_reason")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            superseded_at: row.try_get("superseded_at")?,
            expires_at: row.try_get("expires_at")?,
            warned_at: row.try_get("warned_at")?,
            destroyed_at: row.try_get("destroyed_at")?,
            deleted_at: row.try_get("deleted_at")?,
            purge_at: row.try_get("purge_at")?,
            key_fingerprint: row.try_get("key_fingerprint")?,
            state: row.try_get("state")?,
        })
    }

    /// Whether it is superseded and still readable.
    pub(crate) fn in_grace(&self) -> bool {
        self.state == "grace"
    }
}

/// `control_plane.secret_value`: a version with its value.
#[derive(Debug, Serialize)]
pub(crate) struct SecretValue {
    #[serde(flatten)]
    pub(crate) version: SecretVersion,
    #[serde(serialize_with = "Revealed::serialize_field")]
    value: SecretText,
}

impl SecretValue {
    /// # Errors
    /// As [`SecretVersion::from_row`].
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            version: SecretVersion::from_row(row)?,
            value: row.try_get("value")?,
        })
    }
}

/// `control_plane.secret_summary`: the current version and who reads the secret.
#[derive(Debug, Serialize)]
pub(crate) struct SecretSummary {
    #[serde(flatten)]
    version: SecretVersion,
    consumers: i64,
    stragglers: i64,
    last_rotated_at: Option<Timestamp>,
}

impl SecretSummary {
    /// # Errors
    /// As [`SecretVersion::from_row`].
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            version: SecretVersion::from_row(row)?,
            consumers: row.try_get("consumers")?,
            stragglers: row.try_get("stragglers")?,
            last_rotated_at: row.try_get("last_rotated_at")?,
        })
    }
}
