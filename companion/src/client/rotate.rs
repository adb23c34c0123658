//! `pg-secrets rotate`: a new value for a secret that exists.

use crate::client::change::{self, Rotation};
use crate::client::failure::{Failure, Kind};
use crate::client::grace::Grace;
use crate::client::project::ProjectArguments;
use crate::client::value::ValueSource;
use crate::client::{blast_radius, find};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

/// The flags of `pg-secrets rotate`.
#[derive(Debug, Args)]
pub struct RotateArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// The secret's name; the value comes by standard input or a prompt
    name: String,
    #[command(flatten)]
    source: ValueSource,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long the old value stays readable: 90m, 7d, PT90M or seconds
    #[arg(long, value_name = "DURATION")]
    grace: Option<Grace>,
    /// Only if this version is still the current one
    #[arg(long, value_name = "UUID")]
    if_current: Option<Uuid>,
    /// Show who would break if the old value were gone at once, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// Rotates.
///
/// # Errors
/// What the server says; a conflict where another change came between.
pub(crate) async fn run(arguments: RotateArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let current = find::current(&server, &arguments.of.project, &arguments.name).await?;
    expected(arguments.if_current, current)?;
    if arguments.dry_run {
        let route = ["api", "secrets", &current.to_string(), "rotate"];
        let answer = server
            .post(&route, &[("dry_run", "true")], &json!({}))
            .await?;
        return blast_radius::show(&answer, "Nobody would break.", arguments.json);
    }
    let value = arguments.source.read()?;
    let rotation = Rotation {
        value: value.as_ref(),
        rotation_reason: arguments.reason.as_deref(),
        grace: arguments.grace,
    };
    let answer = change::rotate(&server, current, &rotation).await?;
    change::say(&answer, "rotated", "", arguments.json)
}

/// Whether the version that somebody believes to be current is.
///
/// # Errors
/// A conflict where it is not.
pub(crate) fn expected(believed: Option<Uuid>, current: Uuid) -> Result<(), Failure> {
    if believed.is_some_and(|believed| believed != current) {
        return Err(Failure::new(
            Kind::Conflict,
            format!("this version is not the current one; that is {current}"),
        ));
    }
    Ok(())
}
