//! `pg-secrets run`: a command with a project's secrets in its environment.
//!
//! The command replaces this process, so that signals, terminal and exit code are its own. With
//! `--watch` it becomes a child: see `watch.rs`.

use crate::client::failure::{Failure, Kind};
use crate::client::project::ReaderArguments;
use crate::client::variables::VariableArguments;
use crate::client::version::Revealed;
use crate::client::{output, read, watch};
use crate::config::duration;
use crate::visible::visible;
use clap::Args;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What it is not handed on: a token may do more than read these values.
const OUR_OWN: [&str; 2] = ["PG_SECRETS_TOKEN", "PG_SECRETS_URL"];

/// As env(1) says it.
const CANNOT_BE_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The flags of `pg-secrets run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub(crate) reader: ReaderArguments,
    #[command(flatten)]
    pub(crate) variables: VariableArguments,
    /// Leave PG_SECRETS_URL and PG_SECRETS_TOKEN in the command's environment
    #[arg(long)]
    keep_token: bool,
    /// Restart the command when one of its secrets is rotated; takes the permission list too
    #[arg(long)]
    watch: bool,
    /// How often to look for rotations
    #[arg(long, default_value = "30s", value_parser = duration, requires = "watch")]
    pub(crate) interval: Duration,
    /// How long the command may take to end after SIGTERM, before SIGKILL
    #[arg(long, default_value = "10s", value_parser = duration, requires = "watch")]
    pub(crate) stop_timeout: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl RunArguments {
    /// The command with these values, not started yet.
    ///
    /// # Errors
    /// Where the secrets cannot be variables.
    pub(crate) fn command(&self, secrets: &[Revealed]) -> Result<Command, Failure> {
        let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        let variables = self.variables.of(&names)?;
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(Failure::new(Kind::Usage, "there is no command"));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        if !self.keep_token {
            for name in OUR_OWN {
                command.env_remove(name);
            }
        }
        for (variable, secret) in variables.iter().zip(secrets) {
            command.env(variable, secret.value.expose());
        }
        Ok(command)
    }
}

/// Runs it. Comes back only where it could not be started, or was watched.
///
/// # Errors
/// What the server says, and where the secrets cannot be variables.
pub(crate) async fn run(arguments: RunArguments) -> Result<ExitCode, Failure> {
    if arguments.interval < Duration::from_millis(100) {
        return Err(Failure::new(
            Kind::Usage,
            "--interval must be at least 100ms",
        ));
    }
    let server = arguments.reader.connect()?;
    let project = &arguments.reader.of.project;
    let secrets = read::values(&server, project, &arguments.variables.only).await?;
    if arguments.watch {
        return watch::run(&arguments, &server, secrets).await;
    }
    let error = arguments.command(&secrets)?.exec();
    Ok(not_started(&error))
}

/// Says that the command could not be started.
pub(crate) fn not_started(error: &std::io::Error) -> ExitCode {
    output::note(&format!(
        "the command cannot be started: {}",
        visible(&error.to_string())
    ));
    ExitCode::from(match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_BE_RUN,
    })
}
