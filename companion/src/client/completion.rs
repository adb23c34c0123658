//! `pg-secrets completion`: a script for a shell.

use crate::client::failure::Failure;
use crate::client::output;
use crate::config::Cli;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

/// The flags of `pg-secrets completion`.
#[derive(Debug, Args)]
pub struct CompletionArguments {
    /// The shell that is to read it
    shell: KnownShell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

/// Writes it.
///
/// # Errors
/// Where the output cannot be written.
pub(crate) fn run(arguments: &CompletionArguments) -> Result<(), Failure> {
    let shell = match arguments.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "pg-secrets", &mut script);
    output::write(&script)
}
