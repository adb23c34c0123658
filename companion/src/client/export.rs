//! `pg-secrets export`: the values of a project in one piece, into a file of its owner's alone.

use crate::client::failure::{Failure, Kind};
use crate::client::login_file::shown;
use crate::client::project::ReaderArguments;
use crate::client::variables::VariableArguments;
use crate::client::version::Revealed;
use crate::client::{dotenv, output, prompt, read};
use crate::private_file::write_new;
use crate::secret_text;
use clap::{Args, ValueEnum};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The flags of `pg-secrets export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    reader: ReaderArguments,
    #[command(flatten)]
    variables: VariableArguments,
    /// The form
    #[arg(long, value_enum, default_value = "dotenv")]
    format: Format,
    /// A new file, readable by its owner alone; without it standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the values on a terminal, after asking once more
    #[arg(long)]
    to_terminal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines that a POSIX shell reads, the names as variables
    Dotenv,
    /// An object with the secrets' own names
    Json,
}

/// Writes them.
///
/// # Errors
/// Where they would be seen on a terminal or lie in a file that others can read, and what the server
/// says. Nothing is read before that is clear.
pub(crate) async fn run(arguments: ExportArguments) -> Result<(), Failure> {
    if arguments.output.is_none() {
        check_stdout(arguments.to_terminal)?;
    }
    let server = arguments.reader.connect()?;
    let project = &arguments.reader.of.project;
    let secrets = read::values(&server, project, &arguments.variables.only).await?;
    let content = match arguments.format {
        Format::Dotenv => lines(&secrets, &arguments.variables)?,
        Format::Json => output::shown_json(&ByName(&secrets), room(&secrets))?,
    };
    let Some(path) = &arguments.output else {
        return output::write(&content);
    };
    write_new(path, &content).map_err(|error| {
        let text = format!(
            "{} could not be written: {error}; an existing file is never overwritten",
            shown(path)
        );
        Failure::new(Kind::Failed, text)
    })
}

fn check_stdout(to_terminal: bool) -> Result<(), Failure> {
    let refused = |text: &str| Err(Failure::new(Kind::Usage, text));
    if output::is_terminal() {
        if !to_terminal {
            return refused(
                "values are not written to a terminal; name a file with --output FILE, or ask for it with --to-terminal",
            );
        }
        if !prompt::confirmed("All values will be seen here, and stay in the terminal's memory.")? {
            return refused("given up; nothing was read");
        }
        return Ok(());
    }
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    let metadata = stdout.and_then(|stdout| File::from(stdout).metadata());
    let metadata = metadata.map_err(anyhow::Error::from)?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return refused(
            "standard output is a file that others can read; --output FILE makes one that they cannot",
        );
    }
    Ok(())
}

/// How many bytes all of it may take, escaped: growing would leave copies behind.
fn room(secrets: &[Revealed]) -> usize {
    let of = |secret: &Revealed| secret.value.expose().len() * 7 + secret.name.len() * 7 + 1024;
    secrets.iter().map(of).sum()
}

fn lines(
    secrets: &[Revealed],
    variables: &VariableArguments,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    let variables = variables.of(&names)?;
    let mut content = Zeroizing::new(Vec::with_capacity(room(secrets)));
    for (variable, secret) in variables.iter().zip(secrets) {
        dotenv::write(&mut content, variable, secret.value.expose());
    }
    Ok(content)
}

struct ByName<'a>(&'a [Revealed]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for secret in self.0 {
            map.serialize_entry(&secret.name, &secret_text::Revealed::of(&secret.value))?;
        }
        map.end()
    }
}
