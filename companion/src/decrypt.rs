//! `pg-secrets decrypt`: a value out of a dump, with the key and without a server.

use crate::config::DecryptArguments;
use crate::dump::{Dump, DumpError, State, Version};
use crate::key_file;
use crate::private_file::write_new;
use crate::visible::visible;
use anyhow::{Context, anyhow, bail};
use pg_secrets_openpgp::{OpenError, Place, SecretKeys};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Writes the value of one version to stdout, byte for byte, or into a new file. Without an id it
/// lists the versions that the dump holds.
///
/// # Errors
/// Where the key or the dump cannot be read, where the dump does not hold the version's ciphertext,
/// where the key for it is missing, and where what stands in its row was not sealed for that row.
/// No error holds anything of a value.
pub fn run(arguments: &DecryptArguments) -> anyhow::Result<()> {
    attempt(arguments).map_err(|error| match error.downcast() {
        Ok(error) => explain(&error, arguments),
        Err(error) => error,
    })
}

fn attempt(arguments: &DecryptArguments) -> anyhow::Result<()> {
    let keys = key_file::read(&arguments.key_file)?;
    let mut dump = Dump::new(open(arguments)?)?;
    let Some(id) = arguments.id else {
        return list(&mut dump, &keys);
    };
    let found = find(&mut dump, id)?.with_context(|| {
        format!("the dump holds no version {id}; without --id its versions are listed")
    })?;
    let value = decrypt(&keys, &arguments.key_file, &found)?;
    match &arguments.output {
        Some(path) => write_new(path, &value).with_context(|| {
            format!(
                "the value could not be written to {}; an existing file is never overwritten",
                path.display()
            )
        })?,
        None => to_stdout(&value).context("the value could not be written to stdout")?,
    }
    if from_stdin(arguments) {
        // A program that writes into a pipe without a reader fails, and a script with it.
        dump.drain().map_err(DumpError::Read)?;
    }
    Ok(())
}

/// Not through the buffer of `std::io::Stdout`, which nobody erases.
fn to_stdout(value: &[u8]) -> std::io::Result<()> {
    File::from(std::io::stdout().as_fd().try_clone_to_owned()?).write_all(value)
}

fn from_stdin(arguments: &DecryptArguments) -> bool {
    arguments.dump == Path::new("-")
}

fn open(arguments: &DecryptArguments) -> anyhow::Result<Box<dyn Read>> {
    if from_stdin(arguments) {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            bail!("there is no dump: name one with --dump FILE, or send it to standard input");
        }
        return Ok(Box::new(stdin));
    }
    let cannot = || format!("the dump {} cannot be read", arguments.dump.display());
    let file = File::open(&arguments.dump).with_context(cannot)?;
    if file.metadata().with_context(cannot)?.is_dir() {
        return Err(DumpError::Archive.into());
    }
    Ok(Box::new(file))
}

/// The error of a dump that was not read, with the command that makes it readable if there is one.
fn explain(error: &DumpError, arguments: &DecryptArguments) -> anyhow::Error {
    let file = if from_stdin(arguments) {
        "FILE".to_owned()
    } else {
        quoted(&arguments.dump)
    };
    let source = match error {
        DumpError::Archive => {
            format!("pg_restore --data-only --schema=control_plane --table=secrets --file=- {file}")
        }
        DumpError::Compressed(program) => format!("{program} {file}"),
        _ => return anyhow!("the dump cannot be read: {error}"),
    };
    let mut command = format!(
        "{source} | pg-secrets decrypt --key-file {}",
        quoted(&arguments.key_file)
    );
    if let Some(id) = arguments.id {
        command.push_str(&format!(" --id {id}"));
    }
    if let Some(output) = &arguments.output {
        command.push_str(&format!(" --output {}", quoted(output)));
    }
    anyhow!("the dump cannot be read: {error}. Run\n  {command}")
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A version with its message, which is erased once the version is destroyed.
struct Found {
    version: Version,
    message: Option<Vec<u8>>,
}

fn find<R: Read>(dump: &mut Dump<R>, id: Uuid) -> Result<Option<Found>, DumpError> {
    while let Some(row) = dump.next_row()? {
        if row.id()? == id {
            return Ok(Some(Found {
                version: row.version()?,
                message: row.message()?,
            }));
        }
    }
    Ok(None)
}

fn decrypt(
    keys: &SecretKeys,
    key_file: &Path,
    Found { version, message }: &Found,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let id = version.id;
    let Some(message) = message else {
        let when = version.destroyed_at.as_deref().unwrap_or("an unknown time");
        bail!(
            "version {id} was destroyed at {}: the dump holds no ciphertext of it",
            visible(when)
        );
    };
    // We never compress: no value is longer than its message.
    keys
        .open(Place::version(id), message, message.len())
        .map_err(|error| match error {
            OpenError::NoKey => anyhow!(
                "version {id} is encrypted to key {}, which {} does not hold; it holds {}",
                visible(version.key_fingerprint.as_deref().unwrap_or("unknown")),
                key_file.display(),
                held(keys),
            ),
            error => anyhow!(
                "what stands in the dump as version {id} is not what the server wrote there: {error}"
            ),
        })
}

/// The fingerprints of the keys.
fn held(keys: &SecretKeys) -> String {
    let fingerprints: Vec<&str> = keys
        .keys()
        .iter()
        .map(|key| key.fingerprint.as_str())
        .collect();
    fingerprints.join(", ")
}

const UNWRITTEN_LIST: &str = "the list could not be written to stdout";

const HEADING: [&str; 8] = [
    "id",
    "version",
    "state",
    "key",
    "created_at",
    "project_id",
    "name",
    "key_fingerprint",
];

/// A line of the list, under [`HEADING`].
fn line(columns: [&str; 8]) -> String {
    let [
        id,
        version,
        state,
        key,
        created_at,
        project_id,
        name,
        fingerprint,
    ] = columns;
    format!(
        "{id:36}  {version:>7}  {state:10}  {key:7}  {created_at:29}  {project_id:16}  {name:24}  {fingerprint}"
    )
    .trim_end()
    .to_owned()
}

fn list<R: Read>(dump: &mut Dump<R>, keys: &SecretKeys) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let listed = write_list(dump, keys, &mut out);
    // What was read before a dump turned out to be cut off is worth having.
    let flushed = out.flush().context(UNWRITTEN_LIST);
    match listed.and(flushed) {
        // Whoever reads the list has seen enough, as with `| head`.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        listed => listed,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn write_list<R: Read>(
    dump: &mut Dump<R>,
    keys: &SecretKeys,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut heading = Some(line(HEADING));
    while let Some(row) = dump.next_row()? {
        if let Some(heading) = heading.take() {
            writeln!(out, "{heading}").context(UNWRITTEN_LIST)?;
        }
        let version = describe(&row.version()?, keys);
        writeln!(out, "{version}").context(UNWRITTEN_LIST)?;
    }
    Ok(())
}

fn describe(version: &Version, keys: &SecretKeys) -> String {
    let fingerprint = version.key_fingerprint.as_deref().map(visible);
    let key = match &fingerprint {
        None => "",
        Some(needed) if keys.keys().iter().any(|key| key.fingerprint == *needed) => "held",
        Some(_) => "missing",
    };
    let state = match version.state {
        State::Active => "active",
        State::Superseded => "superseded",
        State::Destroyed => "destroyed",
        State::Deleted => "deleted",
    };
    line([
        &version.id.to_string(),
        &visible(&version.version),
        state,
        key,
        &visible(&version.created_at),
        &visible(&version.project_id),
        &visible(&version.name),
        fingerprint.as_deref().unwrap_or_default(),
    ])
}

#[cfg(test)]
mod tests;
