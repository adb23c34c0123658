//! `pg-secrets reencrypt`: brings everything over to the primary key of the server, batch by batch.
//!
//! Each batch is a transaction of its own in the database, which does all of the work: this command
//! may be killed at any moment, and run again.

use crate::config::ReencryptArguments;
use crate::db::{Database, Parameter};
use crate::error::Error;
use crate::secret_text::SecretText;
use anyhow::{Context, bail};
use axum::http::StatusCode;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

/// How long to wait for what other sessions hold, before a further try.
const PAUSE: Duration = Duration::from_millis(500);

/// How many tries in a row may bring nothing before it is given up.
const MOST_IDLE_TRIES: u32 = 20;

/// How often a line tells of the progress where there is no terminal.
const REPORT: Duration = Duration::from_secs(5);

/// How many failures are listed.
const MOST_LISTED: usize = 20;

const WAITING: &str = "
SELECT coalesce(sum(key.versions + key.endpoints), 0)::bigint
FROM (SELECT CASE WHEN $1::text IS NULL THEN '' ELSE control_plane.authenticate($1, $2) END AS subject) AS caller,
LATERAL control_plane.pgp_keys() AS key
WHERE caller.subject IS NOT NULL AND NOT key.primary";

const REENCRYPT: &str = "
SELECT moved.remaining
FROM (SELECT CASE WHEN $1::text IS NULL THEN '' ELSE control_plane.authenticate($1, $2) END AS subject) AS caller,
LATERAL control_plane.reencrypt_secrets(CASE WHEN caller.subject IS NOT NULL THEN $3::integer END) AS moved(remaining)";

const FAILURES: &str = "
SELECT failure.id::text, coalesce(failure.key_fingerprint, ''), failure.kind, failure.problem
FROM (SELECT CASE WHEN $1::text IS NULL THEN '' ELSE control_plane.authenticate($1, $2) END AS subject) AS caller,
LATERAL control_plane.verify_secrets() AS failure
WHERE caller.subject IS NOT NULL";

/// Re-encrypts until nothing is left under an older key.
///
/// # Errors
/// Where the database cannot be reached or refuses, and where something is left that cannot be
/// decrypted; what that is, is listed.
pub fn run(arguments: ReencryptArguments) -> anyhow::Result<()> {
    let batch = i32::from(arguments.batch);
    let target = arguments.database.target()?;
    let token = std::env::var("PG_SECRETS_TOKEN")
        .ok()
        .filter(|token| !token.is_empty())
        .map(SecretText::new);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(async {
        let mut session = Session {
            database: Database::new(&target, 1)?,
            token,
        };
        session.reencrypt(batch).await
    })
}

struct Session {
    database: Database,
    /// Whose rights count, where the login acts for others.
    token: Option<SecretText>,
}

impl Session {
    async fn rows(
        &self,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        let request = Json(json!({"application_name": "pg-secrets reencrypt"}));
        let mut all: Vec<Parameter<'_>> = vec![&self.token, &request];
        all.extend_from_slice(parameters);
        self.database.run(statement, &all).await
    }

    async fn number(
        &self,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> anyhow::Result<u64> {
        let rows = self.rows(statement, parameters).await;
        let rows = rows.map_err(|error| anyhow::anyhow!("{}", error.for_people()))?;
        let number: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.context("the database did not answer with a number")
    }

    /// A login that acts for nobody but itself has the rights of its role, and no use for a token.
    async fn settle_identity(&mut self) {
        if self.token.is_none() {
            return;
        }
        if let Err(Error::Refused(problem)) = self.rows(WAITING, &[]).await
            && problem.status == StatusCode::FORBIDDEN
        {
            self.token = None;
        }
    }

    async fn reencrypt(&mut self, batch: i32) -> anyhow::Result<()> {
        self.settle_identity().await;
        let mut left = self.number(WAITING, &[]).await?;
        let mut progress = Progress::new(left);
        let mut idle = 0;
        // Once nothing is left, one more look: a session that had not heard of the new key yet may
        // have sealed a last value to the old one.
        let mut sure = left == 0;
        loop {
            let now = self.number(REENCRYPT, &[&batch]).await?;
            progress.show(now);
            if now == 0 && sure {
                break;
            }
            sure = now == 0;
            idle = if now < left { 0 } else { idle + 1 };
            if idle > MOST_IDLE_TRIES {
                progress.end();
                return self.give_up(now).await;
            }
            left = now;
            if idle > 0 || sure {
                tokio::time::sleep(PAUSE).await;
            }
        }
        progress.end();
        advise();
        Ok(())
    }

    #[allow(clippy::print_stderr)]
    async fn give_up(&self, left: u64) -> anyhow::Result<()> {
        let failures = self.rows(FAILURES, &[]).await;
        let failures = failures.map_err(|error| anyhow::anyhow!("{}", error.for_people()))?;
        for row in failures.iter().take(MOST_LISTED) {
            let column = |at| row.try_get::<_, &str>(at).unwrap_or_default();
            eprintln!(
                "{} {} (key {}): {}",
                column(2),
                column(0),
                column(1),
                column(3)
            );
        }
        if failures.is_empty() {
            bail!(
                "{left} are left under older keys, held by other sessions for too long; run this again"
            );
        }
        bail!(
            "{left} are left under older keys, and {} cannot be decrypted (control_plane.verify_secrets() lists them); keep the older keys, add what is missing to pg_secrets.key_file, reload the server, and run this again",
            failures.len()
        );
    }
}

/// A bar on a terminal, a line from time to time elsewhere.
struct Progress {
    bar: ProgressBar,
    total: u64,
    terminal: bool,
    reported: Instant,
}

impl Progress {
    fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let form = "{bar:40} {pos} of {len} re-encrypted, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        Self {
            bar,
            total,
            terminal: std::io::stderr().is_terminal(),
            reported: Instant::now(),
        }
    }

    #[allow(clippy::print_stderr)]
    fn show(&mut self, left: u64) {
        self.total = self.total.max(left);
        self.bar.set_length(self.total);
        self.bar.set_position(self.total - left);
        if !self.terminal && self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            eprintln!("{} of {} re-encrypted", self.total - left, self.total);
        }
    }

    fn end(&self) {
        self.bar.finish();
    }
}

#[allow(clippy::print_stderr)]
fn advise() {
    eprintln!(
        "Everything is encrypted to the primary key.\n\
         1. SELECT * FROM control_plane.pgp_keys(); a key with 0 versions and 0 endpoints is needed by nothing any more.\n\
         2. Take it out of pg_secrets.key_file, and reload the server.\n\
         3. Keep it for as long as there are backups from before: what lies in them is encrypted to it."
    );
}
