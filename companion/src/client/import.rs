//! `pg-secrets import`: the variables of a .env file as secrets.
//!
//! A variable is the secret of exactly its name, or else the one secret that `run` would make this
//! variable of, or else a new secret of its name.

use crate::client::change::{self, Rotation};
use crate::client::dotenv::{self, Entry};
use crate::client::failure::{Failure, Kind};
use crate::client::grace::Grace;
use crate::client::http::Connection;
use crate::client::login_file::shown;
use crate::client::project::ProjectArguments;
use crate::client::style::{Colour, Style};
use crate::client::table::{self, Cell};
use crate::client::variables::by_rule;
use crate::client::version::{Summary, Version};
use crate::client::{find, output, prompt, stdin};
use crate::secret_text::SecretText;
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The flags of `pg-secrets import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    #[command(flatten)]
    of: ProjectArguments,
    /// The file; - is standard input
    file: PathBuf,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Leave secrets alone that exist already
    #[arg(long)]
    only_new: bool,
    /// Why, for those that are rotated
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long the old values stay readable: 90m, 7d, PT90M or seconds
    #[arg(long, value_name = "DURATION")]
    grace: Option<Grace>,
    /// JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// What becomes of a variable.
enum Action {
    Create,
    Rotate(Uuid),
    LeftAlone(&'static str),
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Rotate(_) => "rotate",
            Action::LeftAlone(why) => why,
        }
    }
}

struct Step {
    entry: Entry,
    secret: String,
    action: Action,
}

/// Shows what would be done, asks, and does it.
///
/// # Errors
/// Where the file cannot be understood, where nobody says yes, and what the server says. What was done
/// until then stays done.
pub(crate) async fn run(arguments: ImportArguments) -> Result<(), Failure> {
    let server = arguments.of.connect()?;
    let entries = entries(&arguments.file)?;
    let project = &arguments.of.project;
    let (secrets, _) = find::all(&server, project, &[]).await?;
    let steps = plan(entries, &find::summaries(secrets)?, arguments.only_new)?;
    if !arguments.json {
        output::write(table_of(&steps).as_bytes())?;
    }
    let changes = |step: &&Step| !matches!(step.action, Action::LeftAlone(_));
    if steps.iter().filter(changes).count() > 0 && !arguments.yes {
        let asked = prompt::confirmed("Values are not shown.");
        if !asked.map_err(|failure| failure.and("--yes goes on without asking"))? {
            return Err(Failure::new(Kind::Usage, "given up; nothing was changed"));
        }
    }
    carry_out(&server, &arguments, &steps).await
}

fn entries(file: &Path) -> Result<Vec<Entry>, Failure> {
    let text = text(file)?;
    let refused = |text: String| Failure::new(Kind::Usage, text);
    let entries = dotenv::read(text.expose())
        .map_err(|misread| refused(format!("{}: {misread}", shown(file))))?;
    let mut names = BTreeSet::new();
    if let Some(twice) = entries.iter().find(|entry| !names.insert(&entry.name)) {
        let (file, line, name) = (shown(file), twice.line, &twice.name);
        return Err(refused(format!("{file}: line {line} gives {name} again")));
    }
    Ok(entries)
}

fn text(file: &Path) -> Result<SecretText, Failure> {
    if file == Path::new("-") {
        return stdin::read("the file");
    }
    let mut opened = File::open(file).map_err(|error| {
        let text = format!("{} cannot be read: {error}", shown(file));
        Failure::new(Kind::Usage, text)
    })?;
    stdin::read_from(&mut opened, &shown(file))
}

fn plan(entries: Vec<Entry>, secrets: &[Summary], only_new: bool) -> Result<Vec<Step>, Failure> {
    let mut steps: Vec<Step> = Vec::new();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        let known = known(&entry, secrets)?;
        let secret = known.map_or(&entry.name, |known| &known.version.name);
        if let Some(line) = taken.insert(secret.clone(), entry.line) {
            let secret = crate::visible::visible(secret);
            let text = format!(
                "lines {line} and {} are both the secret {secret}",
                entry.line
            );
            return Err(Failure::new(Kind::Usage, text));
        }
        let action = match known {
            _ if entry.value.expose().is_empty() => Action::LeftAlone("left out: no value"),
            Some(_) if only_new => Action::LeftAlone("left alone: exists"),
            Some(known) => Action::Rotate(known.version.id),
            None => Action::Create,
        };
        steps.push(Step {
            secret: secret.clone(),
            entry,
            action,
        });
    }
    Ok(steps)
}

fn known<'s>(entry: &Entry, secrets: &'s [Summary]) -> Result<Option<&'s Summary>, Failure> {
    let exactly = |secret: &&Summary| secret.version.name == entry.name;
    if let Some(secret) = secrets.iter().find(exactly) {
        return Ok(Some(secret));
    }
    let by_rule = |secret: &&Summary| by_rule("", &secret.version.name) == entry.name;
    let mut matching = secrets.iter().filter(by_rule);
    match (matching.next(), matching.next()) {
        (secret, None) => Ok(secret),
        (_, Some(_)) => {
            let (line, name) = (entry.line, &entry.name);
            let text = format!("line {line}: several secrets would be the variable {name}");
            Err(Failure::new(Kind::Usage, text))
        }
    }
}

fn table_of(steps: &[Step]) -> String {
    let row = |step: &Step| {
        let colour = match step.action {
            Action::Create => Colour::Green,
            Action::Rotate(_) => Colour::Yellow,
            Action::LeftAlone(_) => Colour::Dim,
        };
        let note = match step.entry.expandable {
            true => "${…} is not expanded",
            false => "",
        };
        vec![
            Cell::new(&step.entry.name),
            Cell::new(&step.secret),
            Cell::in_colour(colour, step.action.name()),
            Cell::new(note),
        ]
    };
    let rows: Vec<Vec<Cell>> = steps.iter().map(row).collect();
    table::render(
        &["VARIABLE", "SECRET", "ACTION", ""],
        &rows,
        Style::of_stdout(),
    )
}

async fn carry_out(
    server: &Connection,
    arguments: &ImportArguments,
    steps: &[Step],
) -> Result<(), Failure> {
    let mut done = Vec::new();
    for step in steps {
        let value = &step.entry.value;
        let changed = match step.action {
            Action::LeftAlone(_) => continue,
            Action::Create => {
                change::create(server, &arguments.of.project, &step.secret, value).await
            }
            Action::Rotate(current) => {
                let rotation = Rotation {
                    value: Some(value),
                    rotation_reason: arguments.reason.as_deref(),
                    grace: arguments.grace,
                };
                change::rotate(server, current, &rotation).await
            }
        };
        let name = crate::visible::visible(&step.secret);
        let answer = changed.map_err(|failure| {
            let sentence = format!("That was {name}; {} before it were done", done.len());
            failure.and(&sentence)
        })?;
        let version: Version = answer.read()?;
        done.push(json!({
            "variable": step.entry.name,
            "name": step.secret,
            "action": step.action.name(),
            "version": version.version,
        }));
    }
    match arguments.json {
        true => output::write_json(&json!({ "imported": done })),
        false => output::write(format!("{} done\n", done.len()).as_bytes()),
    }
}
