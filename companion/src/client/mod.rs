//! `pg-secrets` as a client of a companion. One file per command; `http.rs` is the connection.
//!
//! Values come from standard input or a prompt and go to standard output, a private file or a child
//! process. They are never arguments, and no error or log line has any of them.

mod access;
mod address;
mod age;
mod blast_radius;
mod change;
mod completion;
mod dangerous;
mod dotenv;
mod export;
mod failure;
mod find;
mod get;
mod grace;
mod history;
mod http;
mod import;
mod list;
mod login;
mod login_file;
mod logout;
mod output;
mod problem;
mod project;
mod prompt;
mod read;
mod rollback;
mod rotate;
mod run;
mod set;
mod stdin;
mod style;
mod table;
mod value;
mod variables;
mod version;
mod watch;

pub use access::ConnectionArguments;
pub use blast_radius::BlastRadiusArguments;
pub use completion::CompletionArguments;
pub use export::ExportArguments;
pub use get::GetArguments;
pub use grace::Grace;
pub use history::HistoryArguments;
pub use import::ImportArguments;
pub use list::ListArguments;
pub use login::LoginArguments;
pub use project::{ProjectArguments, ReaderArguments};
pub use rollback::RollbackArguments;
pub use rotate::RotateArguments;
pub use run::RunArguments;
pub use set::SetArguments;
pub use value::{ValueArguments, ValueSource};
pub use variables::{Mapping, VariableArguments};

use crate::masking::masked;
use clap::Subcommand;
use failure::{Failure, Kind};
use std::process::ExitCode;

/// What is said below the help of every command of the client; docs/cli.md says it too.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    not understood, or refused here before anything was sent
  3    the server cannot be reached, or cannot serve now
  4    no such thing, or its value is gone
  5    not logged in, or not permitted
  6    another change was there first, or the state does not allow this one
  126  `run`: the command cannot be run; 127: there is none of that name;
       once it runs, the code is its own";

/// The commands of the client.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Keep a companion's address and a token for the other commands
    #[command(after_help = EXIT_CODES)]
    Login(LoginArguments),
    /// Forget what login kept
    #[command(after_help = EXIT_CODES)]
    Logout,
    /// List the secrets of a project, without values
    #[command(after_help = EXIT_CODES)]
    List(ListArguments),
    /// Write a value to standard output
    #[command(after_help = EXIT_CODES)]
    Get(GetArguments),
    /// Create a secret, or rotate it where it exists
    #[command(after_help = EXIT_CODES)]
    Set(SetArguments),
    /// Give a secret a new value
    #[command(after_help = EXIT_CODES)]
    Rotate(RotateArguments),
    /// Make an older version's value the current one again
    #[command(after_help = EXIT_CODES)]
    Rollback(RollbackArguments),
    /// Show the versions of a secret
    #[command(after_help = EXIT_CODES)]
    History(HistoryArguments),
    /// Show who reads a secret, and who still reads an older version
    #[command(after_help = EXIT_CODES)]
    BlastRadius(BlastRadiusArguments),
    /// Run a command with a project's secrets as environment variables
    #[command(after_help = EXIT_CODES)]
    Run(RunArguments),
    /// Create and rotate secrets from a .env file
    #[command(after_help = EXIT_CODES)]
    Import(ImportArguments),
    /// Write a project's values in one piece
    #[command(after_help = EXIT_CODES)]
    Export(ExportArguments),
    /// Write a script that completes commands in a shell
    #[command(after_help = EXIT_CODES)]
    Completion(CompletionArguments),
}

/// Runs a command and says what went wrong. The code is one of those of docs/cli.md.
#[must_use]
pub fn run(command: ClientCommand) -> ExitCode {
    // One thread: a client waits more than it works.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(_) => return said(&Failure::new(Kind::Failed, "the runtime does not start")),
    };
    let outcome = runtime.block_on(dispatch(command));
    // Without waiting for a name that is still being resolved.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|failure| said(&failure))
}

async fn dispatch(command: ClientCommand) -> Result<ExitCode, Failure> {
    match command {
        ClientCommand::Login(arguments) => login::run(arguments).await?,
        ClientCommand::Logout => logout::run()?,
        ClientCommand::List(arguments) => list::run(arguments).await?,
        ClientCommand::Get(arguments) => get::run(arguments).await?,
        ClientCommand::Set(arguments) => set::run(arguments).await?,
        ClientCommand::Rotate(arguments) => rotate::run(arguments).await?,
        ClientCommand::Rollback(arguments) => rollback::run(arguments).await?,
        ClientCommand::History(arguments) => history::run(arguments).await?,
        ClientCommand::BlastRadius(arguments) => blast_radius::run(arguments).await?,
        ClientCommand::Run(arguments) => return run::run(arguments).await,
        ClientCommand::Import(arguments) => import::run(arguments).await?,
        ClientCommand::Export(arguments) => export::run(arguments).await?,
        ClientCommand::Completion(arguments) => completion::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stderr)]
fn said(failure: &Failure) -> ExitCode {
    eprintln!("pg-secrets: {}", masked(failure.text()));
    ExitCode::from(failure.code())
}
