//! Consumers as answers show them: the columns of the database's composite type by their own names.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// `control_plane.consumer`.
#[derive(Debug, Serialize)]
struct Consumer {
    service: String,
    verified: bool,
    last_version: Option<i32>,
    last_state: Option<String>,
    last_used_at: Option<Timestamp>,
    straggler: bool,
    endpoints: i64,
    told_at: Option<Timestamp>,
    sessions: Option<i64>,
}

impl Consumer {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            service: row.try_get("service")?,
            verified: row.try_get("verified")?,
            last_version: row.try_get("last_version")?,
            last_state: row.try_get("last_state")?,
            last_used_at: row.try_get("last_used_at")?,
            straggler: row.try_get("straggler")?,
            endpoints: row.try_get("endpoints")?,
            told_at: row.try_get("told_at")?,
            sessions: row.try_get("sessions")?,
        })
    }
}

/// A blast radius: all consumers of a secret, or those that a change would break.
#[derive(Debug, Serialize)]
pub(crate) struct Consumers {
    consumers: Vec<Consumer>,
}

impl Consumers {
    /// # Errors
    /// Where a row lacks a column, or has one of another type.
    pub(crate) fn from_rows(rows: &[Row]) -> Result<Self, Error> {
        let consumers = rows.iter().map(Consumer::from_row);
        Ok(Self {
            consumers: consumers.collect::<Result<_, _>>()?,
        })
    }
}
