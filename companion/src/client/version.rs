//! A version, a secret and a consumer as the companion answers them, as far as the client looks.

use crate::secret_text::SecretText;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// A version without its value.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Version {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) state: String,
    pub(crate) created_by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) rotation_reason: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) destroyed_at: Option<Timestamp>,
    pub(crate) purge_at: Option<Timestamp>,
}

/// A version with its value.
#[derive(Debug, Deserialize)]
pub(crate) struct Revealed {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) state: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) value: SecretText,
}

/// A secret in a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) version: Version,
    pub(crate) consumers: i64,
    pub(crate) stragglers: i64,
}

/// A service that reads a secret.
#[derive(Debug, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) service: String,
    pub(crate) verified: bool,
    pub(crate) last_version: Option<i32>,
    pub(crate) last_state: Option<String>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) straggler: bool,
    pub(crate) endpoints: i64,
    pub(crate) told_at: Option<Timestamp>,
}
