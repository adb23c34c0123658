//! `pg-secrets list`: the secrets of a project.

use crate::client::age::{ago, length};
use crate::client::failure::Failure;
use crate::client::find;
use crate::client::output;
use crate::client::project::ProjectArguments;
use crate::client::style::{Colour, Style};
use crate::client::table::{self, Cell};
use crate::client::version::Summary;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

/// The flags of `pg-secrets list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// Those that were deleted and can be restored
    #[arg(long)]
    deleted: bool,
    /// JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Lists them.
///
/// # Errors
/// What the server says.
pub(crate) async fn run(arguments: ListArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let state: &[_] = match arguments.deleted {
        true => &[("state", "deleted")],
        false => &[],
    };
    let (secrets, now) = find::all(&server, &arguments.of.project, state).await?;
    if arguments.json {
        return output::write_json(&json!({ "secrets": secrets }));
    }
    let secrets = find::summaries(secrets)?;
    if secrets.is_empty() {
        output::note("there are none");
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = secrets.iter().map(|secret| row(secret, now)).collect();
    let headings = [
        "NAME",
        "VERSION",
        match arguments.deleted {
            true => "RESTORABLE FOR",
            false => "CHANGED",
        },
        "BY",
        "CONSUMERS",
        "STRAGGLERS",
    ];
    output::write(table::render(&headings, &rows, Style::of_stdout()).as_bytes())
}

fn row(secret: &Summary, now: Timestamp) -> Vec<Cell> {
    let version = &secret.version;
    let when = match version.purge_at {
        Some(purge_at) => length(purge_at.as_second() - now.as_second()),
        None => ago(version.created_at, now),
    };
    let stragglers = match secret.stragglers {
        0 => Colour::Plain,
        _ => Colour::Yellow,
    };
    vec![
        Cell::new(&version.name),
        Cell::new(version.version.to_string()),
        Cell::new(when),
        Cell::new(&version.created_by),
        Cell::new(secret.consumers.to_string()),
        Cell::in_colour(stragglers, secret.stragglers.to_string()),
    ]
}
