//! The command `pg-secrets`.

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use pg_secrets_companion::config::{Cli, Command};
use pg_secrets_companion::masking::masked;
use pg_secrets_companion::{
    client, core_dumps, decrypt, doctor, keygen, reencrypt, serve, telemetry, token,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(error),
    };
    if let Err(error) = telemetry::start() {
        return failed(&error);
    }
    core_dumps::refuse();
    let outcome = match cli.command {
        Command::Doctor(arguments) => {
            return doctor::run(arguments).unwrap_or_else(|error| {
                failed(&error);
                ExitCode::from(doctor::NOT_ASKED)
            });
        }
        Command::Client(command) => return client::run(command),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Reencrypt(arguments) => reencrypt::run(arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::Decrypt(arguments) => decrypt::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// What a person at the terminal sees when a command gives up. Not through the log, whose level
/// may be off.
#[allow(clippy::print_stderr)]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("pg-secrets: {}", masked(&format!("{error:#}")));
    ExitCode::FAILURE
}

/// What clap says of arguments that it does not take, and it quotes them; also the help, which it counts
/// as such. Of an argument that no command knows only a flag's name is quoted: who gives a value where none
/// is taken should not find it in a log as well.
#[allow(clippy::print_stderr)]
fn misused(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    if let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) {
        let flag = given.starts_with("--") || given.starts_with('<');
        let shown = match given.split_once('=') {
            _ if !flag => "that is not shown; values come by standard input or a prompt",
            Some((name, _)) => name,
            None => given,
        };
        let shown = ContextValue::String(shown.to_owned());
        error.insert(ContextKind::InvalidArg, shown);
    }
    eprint!("{}", masked(&error.render().to_string()));
    // A monitor would take any other code for something that was found.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|command| command == "doctor")
    {
        return ExitCode::from(doctor::NOT_ASKED);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
