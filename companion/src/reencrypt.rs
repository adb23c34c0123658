//! `pg-secrets reencrypt`: brings everything over to the primary key of the server, batch by batch.
//!
//! Each batch is a transaction of its own in the database, which does all of the work: this command
//! may be killed at any moment, and run again.

use crate::administrator::{Administrator, as_caller};
use crate::config::ReencryptArguments;
use crate::db::Parameter;
use crate::visible::visible;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// How long to wait for what other sessions hold, before a further try.
const PAUSE: Duration = Duration::from_millis(500);

/// How many tries in a row may bring nothing before it is given up.
const MOST_IDLE_TRIES: u32 = 20;

/// How often a line tells of the progress where there is no terminal.
const REPORT: Duration = Duration::from_secs(5);

/// How many failures are listed.
const MOST_LISTED: usize = 20;

const KEYS: &str = as_caller!(
    "key.fingerprint, key.primary, key.available, key.versions + key.endpoints",
    "pgp_keys() AS key"
);

const REENCRYPT: &str = as_caller!(
    "moved.remaining",
    "reencrypt_secrets(CASE WHEN caller.subject IS NOT NULL THEN $3::integer END) AS moved(remaining)"
);

const FAILURES: &str = as_caller!(
    "failure.id::text, coalesce(failure.key_fingerprint, 'unknown'), failure.kind, failure.problem",
    "verify_secrets() AS failure"
);

/// Re-encrypts until nothing is left under an older key.
///
/// # Errors
/// Where the database cannot be reached or refuses, and where something is left that cannot be
/// decrypted; what that is, is listed.
pub fn run(arguments: ReencryptArguments) -> anyhow::Result<()> {
    let batch = i32::from(arguments.batch);
    let target = arguments.database.target()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(async {
        let session = Session {
            administrator: Administrator::of(&target, "pg-secrets reencrypt", KEYS).await?,
        };
        session.reencrypt(batch).await
    })
}

/// A row of control_plane.pgp_keys().
struct Key {
    fingerprint: String,
    primary: bool,
    available: bool,
    /// How many versions and signing secrets need it.
    needed: u64,
}

impl Key {
    fn read(row: &Row) -> Option<Self> {
        let needed: i64 = row.try_get(3).ok()?;
        Some(Self {
            fingerprint: visible(row.try_get(0).ok()?),
            primary: row.try_get(1).ok()?,
            available: row.try_get(2).ok()?,
            needed: u64::try_from(needed).ok()?,
        })
    }
}

fn under_older_keys(keys: &[Key]) -> u64 {
    let older = keys.iter().filter(|key| !key.primary);
    older.map(|key| key.needed).sum()
}

struct Session {
    administrator: Administrator,
}

impl Session {
    async fn rows(
        &self,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> anyhow::Result<Vec<Row>> {
        self.administrator.rows(statement, parameters).await
    }

    async fn keys(&self) -> anyhow::Result<Vec<Key>> {
        let rows = self.rows(KEYS, &[]).await?;
        let keys: Option<Vec<Key>> = rows.iter().map(Key::read).collect();
        keys.context("the database did not answer with keys")
    }

    /// Has one batch re-encrypted; how many are left.
    async fn batch(&self, batch: i32) -> anyhow::Result<u64> {
        let rows = self.rows(REENCRYPT, &[&batch]).await?;
        let left: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
        left.and_then(|left| u64::try_from(left).ok())
            .context("the database did not answer with a number")
    }

    async fn reencrypt(&self, batch: i32) -> anyhow::Result<()> {
        let keys = self.keys().await?;
        let total = under_older_keys(&keys);
        tell_missing(&keys);
        let mut left = total;
        let mut progress = Progress::new(total);
        let mut idle = 0;
        // Once nothing is left, one more look: a session that had not heard of the new key yet may
        // have sealed a last value to the old one.
        let mut sure = total == 0;
        loop {
            let now = self.batch(batch).await?;
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
        // Rows that name another key than the one that opens them are counted under the wrong one.
        if self.list_failures().await? > 0 {
            bail!(
                "everything that could be decrypted is encrypted to the primary key, and the above could not, or is recorded under another key than its own; keep all keys until control_plane.verify_secrets() answers nothing"
            );
        }
        advise(total, &self.keys().await?);
        Ok(())
    }

    /// Prints what control_plane.verify_secrets() finds; how many.
    #[allow(clippy::print_stderr)]
    async fn list_failures(&self) -> anyhow::Result<usize> {
        let failures = self.rows(FAILURES, &[]).await?;
        for row in failures.iter().take(MOST_LISTED) {
            let column = |at| visible(row.try_get(at).unwrap_or_default());
            eprintln!(
                "{} {} (key {}): {}",
                column(2),
                column(0),
                column(1),
                column(3)
            );
        }
        Ok(failures.len())
    }

    async fn give_up(&self, left: u64) -> anyhow::Result<()> {
        match self.list_failures().await? {
            0 => bail!(
                "{left} are left under older keys, held by other sessions for too long; run this again"
            ),
            failures => bail!(
                "{left} are left under older keys, and {failures} cannot be decrypted with the key that their row names (control_plane.verify_secrets() lists them); keep the older keys, add what is missing to pg_secrets.key_file, reload the server, and run this again"
            ),
        }
    }
}

/// Keys that something needs and the server does not have: what they are needed for will be left.
#[allow(clippy::print_stderr)]
fn tell_missing(keys: &[Key]) {
    for key in keys.iter().filter(|key| !key.available && key.needed > 0) {
        eprintln!(
            "Key {} is needed by {} and is not on this server: they will be left as they are.",
            key.fingerprint, key.needed
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
        let form = "{bar:40} {pos} of {len} re-encrypted, {eta} left";
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
fn advise(moved: u64, keys: &[Key]) {
    let primary = keys.iter().find(|key| key.primary);
    let primary = primary.map_or("", |key| key.fingerprint.as_str());
    let unneeded: Vec<&str> = keys
        .iter()
        .filter(|key| !key.primary && key.available && key.needed == 0)
        .map(|key| key.fingerprint.as_str())
        .collect();
    eprintln!("Everything is encrypted to {primary}, the primary key.");
    if moved == 0 {
        eprintln!(
            "There was nothing to do. If another key should be the primary one: it stands behind this one, or the server refused its file; the server's log says \"the keys of pg_secrets stay as they are\", and why."
        );
    }
    if unneeded.is_empty() {
        return;
    }
    eprintln!("Needed by nothing any more: {}", unneeded.join(", "));
    eprintln!(
        "1. Look once more, with SELECT * FROM control_plane.pgp_keys() and control_plane.verify_secrets(), when transactions from before the change of the key are over.\n\
         2. Take that key out of pg_secrets.key_file, and reload the server.\n\
         3. Keep it elsewhere for as long as there are backups from before: what lies in them is encrypted to it."
    );
}
