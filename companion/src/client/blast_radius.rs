//! `pg-secrets blast-radius`: who reads a secret.

use crate::client::age::ago;
use crate::client::failure::Failure;
use crate::client::http::Answer;
use crate::client::project::ProjectArguments;
use crate::client::style::{Colour, Style};
use crate::client::table::{self, Cell};
use crate::client::version::Consumer;
use crate::client::{find, output};
use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The flags of `pg-secrets blast-radius`.
#[derive(Debug, Args)]
pub struct BlastRadiusArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// The secret's name
    name: String,
    /// JSON in place of a table
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Consumers {
    consumers: Vec<Consumer>,
}

/// Shows them.
///
/// # Errors
/// What the server says.
pub(crate) async fn run(arguments: BlastRadiusArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let id = find::current(&server, &arguments.of.project, &arguments.name).await?;
    let route = ["api", "secrets", &id.to_string(), "consumers"];
    let answer = server.get(&route, &[]).await?;
    show(
        &answer,
        "Nobody reads it by name of a service.",
        arguments.json,
    )
}

/// Shows a blast radius; `none` is what is said of an empty one.
///
/// # Errors
/// Where the answer has another form, or the output cannot be written.
pub(crate) fn show(answer: &Answer, none: &str, json: bool) -> Result<(), Failure> {
    if json {
        return output::write_json(&answer.read::<Value>()?);
    }
    let consumers = answer.read::<Consumers>()?.consumers;
    if consumers.is_empty() {
        return output::write([none, "\n"].concat().as_bytes());
    }
    let rows: Vec<Vec<Cell>> = consumers
        .iter()
        .map(|consumer| row(consumer, answer.at))
        .collect();
    let headings = [
        "SERVICE",
        "VERIFIED",
        "READS",
        "LAST READ",
        "STRAGGLER",
        "ENDPOINTS",
        "TOLD",
    ];
    output::write(table::render(&headings, &rows, Style::of_stdout()).as_bytes())
}

fn row(consumer: &Consumer, now: Timestamp) -> Vec<Cell> {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let when = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| ago(at, now));
    let state = consumer.last_state.as_deref().unwrap_or_default();
    let reads = match consumer.last_version {
        Some(version) => format!("version {version} ({state})"),
        None => "nothing yet".to_owned(),
    };
    let straggler = match consumer.straggler {
        true => Colour::Yellow,
        false => Colour::Green,
    };
    vec![
        Cell::new(&consumer.service),
        Cell::new(yes(consumer.verified)),
        Cell::new(reads),
        Cell::new(when(consumer.last_used_at)),
        Cell::in_colour(straggler, yes(consumer.straggler)),
        Cell::new(consumer.endpoints.to_string()),
        Cell::new(when(consumer.told_at)),
    ]
}
