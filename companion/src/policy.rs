//! A project's policy as requests and answers have it.

use crate::error::Error;
use crate::extract::JsonForm;
use crate::grace;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use tokio_postgres::Row;

/// A whole policy; what is absent or null goes back to its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicy {
    pub(crate) grace: Option<Value>,
    pub(crate) hold_for_stragglers: Option<bool>,
    pub(crate) hold_limit: Option<Value>,
}

impl JsonForm for NewPolicy {
    const FORM: &'static str = r#"{"grace": seconds, ISO 8601 duration or absent, "hold_for_stragglers": true, false or absent, "hold_limit": as grace}"#;
}

/// `control_plane.policy`, with lengths of time in seconds. `grace` is null where the server's holds.
#[derive(Debug, Serialize)]
pub(crate) struct Policy {
    project_id: String,
    grace: Option<Number>,
    hold_for_stragglers: bool,
    hold_limit: Option<Number>,
}

impl Policy {
    /// # Errors
    /// Where the row lacks a column, or has one of another type.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            project_id: row.try_get("project_id")?,
            grace: grace::seconds(row.try_get("grace")?)?,
            hold_for_stragglers: row.try_get("hold_for_stragglers")?,
            hold_limit: grace::seconds(row.try_get("hold_limit")?)?,
        })
    }
}
