//! `pg-secrets set`: a value for a name, whether it exists already or not.

use crate::client::change::{self, Rotation};
use crate::client::failure::{Failure, Kind};
use crate::client::grace::Grace;
use crate::client::project::ProjectArguments;
use crate::client::value::ValueArguments;
use clap::Args;

/// The flags of `pg-secrets set`.
#[derive(Debug, Args)]
pub struct SetArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// The secret's name; the value comes by standard input or a prompt
    name: String,
    #[command(flatten)]
    value: ValueArguments,
    /// Why, where it is a rotation
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long the old value stays readable, where it is a rotation: 90m, 7d, PT90M or seconds
    #[arg(long, value_name = "DURATION")]
    grace: Option<Grace>,
    /// JSON in place of a line
    #[arg(long)]
    json: bool,
}

/// Creates, or rotates what is there. It takes the permission write alone.
///
/// # Errors
/// What the server says; a conflict where another change came between.
pub(crate) async fn run(arguments: SetArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let value = arguments.value.read()?;
    let created = change::create(&server, &arguments.of.project, &arguments.name, &value).await;
    let current = match created {
        Ok(answer) => return change::say(&answer, "created", "", arguments.json),
        Err(failure) => match (failure.kind(), failure.current_id()) {
            (Kind::Conflict, Some(current)) => current,
            _ => return Err(failure),
        },
    };
    let rotation = Rotation {
        value: Some(&value),
        rotation_reason: arguments.reason.as_deref(),
        grace: arguments.grace,
    };
    let answer = change::rotate(&server, current, &rotation).await?;
    change::say(&answer, "rotated", "", arguments.json)
}
