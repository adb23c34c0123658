//! The values of a project's secrets, all or those named, in one request.

use crate::client::failure::{Failure, Kind};
use crate::client::http::Connection;
use crate::client::version::Revealed;
use crate::visible::visible;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'a [String]>,
}

#[derive(Deserialize)]
struct Values {
    secrets: Vec<Revealed>,
}

/// Reads them, in the order of their names. No names are all.
///
/// # Errors
/// What the server says; where one of the names is not there, and where there is nothing.
pub(crate) async fn values(
    server: &Connection,
    project: &str,
    only: &[String],
) -> Result<Vec<Revealed>, Failure> {
    let wanted = Wanted {
        names: (!only.is_empty()).then_some(only),
    };
    let route = ["api", "projects", project, "read"];
    let answer = server.post(&route, &[], &wanted).await;
    let answer = answer.map_err(|failure| named(failure, only))?;
    let mut secrets = answer.read::<Values>()?.secrets;
    if secrets.is_empty() {
        let text = format!("the project {} has no secrets", visible(project));
        return Err(Failure::new(Kind::NotFound, text));
    }
    secrets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(secrets)
}

/// The server names what is missing by its position.
fn named(failure: Failure, only: &[String]) -> Failure {
    let missing: Vec<String> = failure
        .missing()
        .into_iter()
        .filter_map(|position| only.get(position.checked_sub(1)?))
        .map(|name| visible(name))
        .collect();
    match missing.is_empty() {
        true => failure,
        false => failure.and(&format!("Not there: {}", missing.join(", "))),
    }
}
