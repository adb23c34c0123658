//! `pg-secrets history`: a secret's versions on a line of time, newest first.

use crate::client::age::{ago, length};
use crate::client::failure::Failure;
use crate::client::project::ProjectArguments;
use crate::client::style::{Colour, Style};
use crate::client::table::{self, Cell};
use crate::client::version::Version;
use crate::client::{find, output};
use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The flags of `pg-secrets history`.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// The secret's name
    name: String,
    /// JSON in place of a line of time
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Versions {
    versions: Vec<Version>,
}

/// Shows them.
///
/// # Errors
/// What the server says.
pub(crate) async fn run(arguments: HistoryArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let id = find::current(&server, &arguments.of.project, &arguments.name).await?;
    let route = ["api", "secrets", &id.to_string(), "versions"];
    let answer = server.get(&route, &[]).await?;
    if arguments.json {
        return output::write_json(&answer.read::<Value>()?);
    }
    let versions = answer.read::<Versions>()?.versions;
    let shown = timeline(&versions, answer.at, Style::of_stdout());
    output::write(shown.as_bytes())
}

fn timeline(versions: &[Version], now: Timestamp, style: Style) -> String {
    let mut rows = Vec::new();
    for version in versions {
        if !rows.is_empty() {
            rows.push(vec![Cell::in_colour(Colour::Dim, "│")]);
        }
        rows.push(row(version, now));
    }
    table::render(&["", "VERSION", "STATE", "MADE", "BY", "WHY"], &rows, style)
}

fn row(version: &Version, now: Timestamp) -> Vec<Cell> {
    let (mark, colour) = match version.state.as_str() {
        "active" => ("●", Colour::Green),
        "grace" => ("◐", Colour::Yellow),
        _ => ("○", Colour::Dim),
    };
    vec![
        Cell::in_colour(colour, mark),
        Cell::new(version.version.to_string()),
        Cell::in_colour(colour, state(version, now)),
        Cell::new(ago(version.created_at, now)),
        Cell::new(&version.created_by),
        Cell::new(version.rotation_reason.as_deref().unwrap_or_default()),
    ]
}

/// The state, with what is left of it or how long it has been so.
fn state(version: &Version, now: Timestamp) -> String {
    let left = |until: Timestamp| length(until.as_second() - now.as_second());
    let state = &version.state;
    match (state.as_str(), version.expires_at, version.destroyed_at) {
        ("grace", Some(until), _) => format!("{state}, {} left", left(until)),
        ("destroyed", _, Some(at)) => format!("{state} {}", ago(at, now)),
        ("destroyed", Some(at), None) => format!("{state} {}", ago(at, now)),
        _ => state.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_state_says_what_is_left_of_it() {
        let version = |number: i32, state: &str, expires: Option<&str>, destroyed: Option<&str>| {
            json!({
                "id": uuid::Uuid::nil(), "name": "n", "version": number, "state": state,
                "created_by": "somebody", "created_at": "2026-01-01T00:00:00Z",
                "rotation_reason": "why", "expires_at": expires, "destroyed_at": destroyed,
                "purge_at": null,
            })
        };
        let versions: Vec<Version> = serde_json::from_value(json!([
            version(3, "active", None, None),
            version(2, "grace", Some("2026-01-02T01:30:00Z"), None),
            version(
                1,
                "destroyed",
                Some("2026-01-01T12:00:00Z"),
                Some("2026-01-01T23:59:00Z")
            ),
        ]))
        .unwrap();
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let shown = timeline(&versions, now, Style::of_stdout());
        for part in [
            "active",
            "grace, 1h 30m left",
            "destroyed 1m 0s ago",
            "1d 0h ago",
            "somebody",
            "why",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(shown.lines().count(), 6, "{shown}");
    }
}
