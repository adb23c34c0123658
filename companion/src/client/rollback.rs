//! `pg-secrets rollback`: an older version's value again, unseen by whoever does it.

use crate::client::failure::Failure;
use crate::client::project::ProjectArguments;
use crate::client::rotate::expected;
use crate::client::{change, find};
use clap::Args;
use uuid::Uuid;

/// The flags of `pg-secrets rollback`.
#[derive(Debug, Args)]
pub struct RollbackArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// The secret's name
    name: String,
    /// The version whose value is to be the current one; `pg-secrets history` lists them
    #[arg(long, value_name = "NUMBER")]
    to: i32,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only if this version is still the current one
    #[arg(long, value_name = "UUID")]
    if_current: Option<Uuid>,
    /// JSON in place of a line
    #[arg(long)]
    json: bool,
}

/// Rolls back.
///
/// # Errors
/// What the server says; a conflict where another change came between.
pub(crate) async fn run(arguments: RollbackArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let current = find::current(&server, &arguments.of.project, &arguments.name).await?;
    expected(arguments.if_current, current)?;
    let reason = arguments.reason.as_deref();
    let answer = change::roll_back(&server, current, arguments.to, reason).await?;
    let what = format!(" with the value of version {}", arguments.to);
    change::say(&answer, "rolled back", &what, arguments.json)
}
