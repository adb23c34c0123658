//! What makes a new version: creating, rotating, rolling back.

use crate::client::failure::Failure;
use crate::client::grace::Grace;
use crate::client::http::{Answer, Connection};
use crate::client::output;
use crate::client::version::Version;
use crate::secret_text::{Revealed, SecretText};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Serialize)]
struct New<'a> {
    project_id: &'a str,
    name: &'a str,
    #[serde(serialize_with = "Revealed::serialize_field")]
    value: &'a SecretText,
}

/// What a rotation says.
#[derive(Serialize)]
pub(crate) struct Rotation<'a> {
    /// The new value; without one the secret's generator makes it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "revealed")]
    pub(crate) value: Option<&'a SecretText>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rotation_reason: Option<&'a str>,
    /// How long the old one stays readable, if not as long as the project says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grace: Option<Grace>,
}

fn revealed<S: Serializer>(value: &Option<&SecretText>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => Revealed::serialize_field(value, to),
        None => to.serialize_none(),
    }
}

#[derive(Serialize)]
struct Rollback<'a> {
    to_version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_reason: Option<&'a str>,
}

/// Makes a secret.
///
/// # Errors
/// What the server says; a conflict names the current version where the name is taken.
pub(crate) async fn create(
    server: &Connection,
    project: &str,
    name: &str,
    value: &SecretText,
) -> Result<Answer, Failure> {
    let new = New {
        project_id: project,
        name,
        value,
    };
    server.post(&["api", "secrets"], &[], &new).await
}

/// Rotates the secret whose current version this is.
///
/// # Errors
/// What the server says.
pub(crate) async fn rotate(
    server: &Connection,
    current: Uuid,
    rotation: &Rotation<'_>,
) -> Result<Answer, Failure> {
    let route = ["api", "secrets", &current.to_string(), "rotate"];
    server.post(&route, &[], rotation).await
}

/// Rolls the secret back whose current version this is.
///
/// # Errors
/// What the server says.
pub(crate) async fn roll_back(
    server: &Connection,
    current: Uuid,
    to_version: i32,
    reason: Option<&str>,
) -> Result<Answer, Failure> {
    let route = ["api", "secrets", &current.to_string(), "rollback"];
    let rollback = Rollback {
        to_version,
        rotation_reason: reason,
    };
    server.post(&route, &[], &rollback).await
}

/// Says what was done: a line, or the version as JSON with a member `action`.
///
/// # Errors
/// Where the answer has another form, or the output cannot be written.
pub(crate) fn say(answer: &Answer, action: &str, what: &str, json: bool) -> Result<(), Failure> {
    if json {
        let mut version: Map<String, Value> = answer.read()?;
        version.insert("action".to_owned(), action.into());
        return output::write_json(&version);
    }
    let version: Version = answer.read()?;
    let line = format!(
        "{action} {}, now version {}{what}\n",
        crate::visible::visible(&version.name),
        version.version
    );
    output::write(line.as_bytes())
}
