//! A grant as it stands in answers.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

/// `control_plane.project_grant`.
#[derive(Debug, Serialize)]
pub(crate) struct Grant {
    id: Uuid,
    kind: String,
    grantee: String,
    permission: String,
    project_id: Option<String>,
    service: Option<String>,
    name_prefix: Option<String>,
    expires_at: Option<Timestamp>,
    granted_by: String,
    granted_at: Timestamp,
}

impl Grant {
    /// Reads the columns by their names.
    ///
    /// # Errors
    /// Where one is missing or of another type.
    pub(crate) fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            grantee: row.try_get("grantee")?,
            permission: row.try_get("permission")?,
            project_id: row.try_get("project_id")?,
            service: row.try_get("service")?,
            name_prefix: row.try_get("name_prefix")?,
            expires_at: row.try_get("expires_at")?,
            granted_by: row.try_get("granted_by")?,
            granted_at: row.try_get("granted_at")?,
        })
    }
}
