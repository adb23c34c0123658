//! Secrets by their names: the list of a project, and the current version of one.

use crate::client::failure::{Failure, Kind};
use crate::client::http::Connection;
use crate::client::version::Summary;
use crate::visible::visible;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

#[derive(Deserialize)]
struct Page {
    secrets: Vec<Value>,
    next_cursor: Option<String>,
}

/// The secrets of a project as the server shows them, all pages of them, and the server's time.
///
/// # Errors
/// What the server says.
pub(crate) async fn all(
    server: &Connection,
    project: &str,
    further: &[(&str, &str)],
) -> Result<(Vec<Value>, Timestamp), Failure> {
    let mut secrets = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("project_id", project)];
        query.extend_from_slice(further);
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let answer = server.get(&["api", "secrets"], &query).await?;
        let mut page: Page = answer.read()?;
        let empty = page.secrets.is_empty();
        secrets.append(&mut page.secrets);
        match page.next_cursor {
            Some(next) if !empty && cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok((secrets, answer.at)),
        }
    }
}

/// The same, to be looked at.
///
/// # Errors
/// As `all`, and where a secret has another form.
pub(crate) fn summaries(secrets: Vec<Value>) -> Result<Vec<Summary>, Failure> {
    secrets
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(|_| {
            Failure::new(
                Kind::Failed,
                "the server does not answer as a companion does",
            )
        })
}

/// The id of the current version of a name.
///
/// # Errors
/// What the server says, and where there is no such secret.
pub(crate) async fn current(
    server: &Connection,
    project: &str,
    name: &str,
) -> Result<Uuid, Failure> {
    let found = all(server, project, &[("name", name)]).await;
    let (secrets, _) = found.map_err(|failure| match failure.kind() {
        Kind::Denied => failure.and("(A secret is found by its name with the permission list.)"),
        _ => failure,
    })?;
    // Not the first one, whatever it is: a server that took no notice of the name would have us
    // change another secret.
    let mut secrets = summaries(secrets)?.into_iter();
    secrets
        .find(|secret| secret.version.name == name)
        .map(|secret| secret.version.id)
        .ok_or_else(|| {
            let (name, project) = (visible(name), visible(project));
            let text = format!("there is no secret {name} in the project {project}");
            Failure::new(Kind::NotFound, text)
        })
}
