//! `pg-secrets token`: makes, lists and revokes bearer tokens, by the functions of the database.

use crate::administrator::{Administrator, as_caller};
use crate::config::{TokenArguments, TokenCommand};
use crate::secret_text::SecretText;
use crate::visible::visible;
use anyhow::Context;
use jiff::Timestamp;
use std::io::Write;
use tokio_postgres::Row;
use uuid::Uuid;

const CREATE: &str = as_caller!(
    "made.token, control_plane.token_id(made.token)",
    "create_token(CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::text, $5::timestamptz) AS made(token)"
);

const LIST: &str = as_caller!(
    "t.id, t.subject, t.service, t.expires_at, t.revoked_at, t.last_used_at",
    "list_tokens(CASE WHEN caller.subject IS NOT NULL THEN $3::text END) AS t"
);

const REVOKE: &str = as_caller!(
    "",
    "revoke_token(CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END) AS revoked"
);

/// Finds out whether the token in the environment is needed.
const PROBE: &str = as_caller!("", "project_grants() AS g");

/// Does what was asked for.
///
/// # Errors
/// Where the database cannot be reached or refuses.
pub fn run(arguments: TokenArguments) -> anyhow::Result<()> {
    let target = arguments.database.target()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(async {
        let administrator = Administrator::of(&target, "pg-secrets token", PROBE).await?;
        match arguments.command {
            TokenCommand::Create {
                subject,
                service,
                expires_at,
            } => {
                let parameters: [crate::db::Parameter<'_>; 3] = [&subject, &service, &expires_at];
                let rows = administrator.rows(CREATE, &parameters).await?;
                let row = rows.first().context("the database made no token")?;
                print_token(&row.try_get(0)?, row.try_get(1)?)
            }
            TokenCommand::List { subject } => {
                let rows = administrator.rows(LIST, &[&subject]).await?;
                rows.iter().try_for_each(print_line)
            }
            TokenCommand::Revoke { id } => {
                administrator.rows(REVOKE, &[&id]).await?;
                Ok(())
            }
        }
    })
}

/// The token alone on stdout, for a program to take; what a person may want to know beside it.
#[allow(clippy::print_stderr)]
fn print_token(token: &SecretText, id: Uuid) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", token.expose())
        .and_then(|()| out.flush())
        .with_context(|| {
            format!("the token could not be written to stdout; revoke it, it is {id}")
        })?;
    eprintln!("This is token {id}. It is not shown again.");
    Ok(())
}

/// Id, subject and service, when it was used last, and whether it is over.
fn print_line(row: &Row) -> anyhow::Result<()> {
    let id: Uuid = row.try_get(0)?;
    let subject = visible(row.try_get(1)?);
    let service = row
        .try_get::<_, Option<&str>>(2)?
        .map_or("-".to_owned(), visible);
    let (expires, revoked, used): (Option<Timestamp>, Option<Timestamp>, Option<Timestamp>) =
        (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    let used = used.map_or("never used".to_owned(), |at| format!("used {at}"));
    let end = match (revoked, expires) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("expires {at}"),
        (None, None) => "without end".to_owned(),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{id}\t{subject}\t{service}\t{used}\t{end}")
        .context("the list could not be written to stdout")
}
