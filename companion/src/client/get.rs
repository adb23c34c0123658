//! `pg-secrets get`: one value.

use crate::client::failure::Failure;
use crate::client::output;
use crate::client::project::ReaderArguments;
use crate::client::version::Revealed;
use crate::secret_text;
use clap::Args;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The flags of `pg-secrets get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    #[command(flatten)]
    reader: ReaderArguments,
    /// The secret's name
    name: String,
    /// An older version that is still readable
    #[arg(long, value_name = "NUMBER")]
    version: Option<i32>,
    /// JSON with id, name, version, state and value
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: Uuid,
    name: &'a str,
    version: i32,
    state: &'a str,
    #[serde(serialize_with = "secret_text::Revealed::serialize_field")]
    value: &'a secret_text::SecretText,
}

/// Writes the value byte for byte, and a line end where a terminal shows it.
///
/// # Errors
/// What the server says.
pub(crate) async fn run(arguments: GetArguments) -> Result<(), Failure> {
    let server = arguments.reader.connect()?;
    let project = &arguments.reader.of.project;
    let version = arguments.version.map(|version| version.to_string());
    let query: Vec<_> = version.iter().map(|v| ("version", v.as_str())).collect();
    let route = ["api", "projects", project, "secrets", &arguments.name];
    let found: Revealed = server.get(&route, &query).await?.read()?;
    let value = found.value.expose().as_bytes();
    let shown = if arguments.json {
        let all = Shown {
            id: found.id,
            name: &found.name,
            version: found.version,
            state: &found.state,
            value: &found.value,
        };
        // Escaped a byte may take six, and what is around it is short: names have 255 characters at most.
        output::shown_json(&all, value.len() * 6 + 8192)?
    } else {
        let mut shown = Zeroizing::new(Vec::with_capacity(value.len() + 1));
        shown.extend_from_slice(value);
        if output::is_terminal() {
            shown.push(b'\n');
        }
        shown
    };
    output::write(&shown)?;
    if let (Some(until), "grace") = (found.expires_at, found.state.as_str()) {
        output::note(&format!(
            "version {} is superseded, and readable until {until}",
            found.version
        ));
    }
    Ok(())
}
