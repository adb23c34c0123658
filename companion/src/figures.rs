//! What the database says of itself in numbers (`control_plane.service_figures()`), for whoever watches.

use crate::db::Database;
use crate::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::Row;

const STATEMENT: &str = "SELECT f.* FROM control_plane.service_figures() AS f";

/// How long an answer stands for the next questions: anybody may ask, and the database must not be asked as
/// often.
const FRESH: Duration = Duration::from_secs(1);

/// How long the database may take for the answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The figures. The counts end at 20000.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Whether the server has a key.
    pub(crate) key_available: bool,
    /// Each worker of the extension by its name, and whether it runs; `None` where that cannot be seen.
    pub(crate) workers: [(&'static str, Option<bool>); 4],
    /// Webhooks that were neither delivered nor given up.
    pub(crate) pending_deliveries: i64,
    /// How long the oldest of them waits, in seconds.
    pub(crate) oldest_pending: f64,
    /// Records of the audit that no link of the chain covers yet.
    pub(crate) unchained_records: i64,
    /// How old the oldest of them is, in seconds.
    pub(crate) oldest_unchained: f64,
    /// Reads that were refused within the last hour.
    pub(crate) denied_reads: i64,
    /// Superseded versions that can be read.
    pub(crate) versions_in_grace: i64,
    /// Consumers that read one of those last.
    pub(crate) stragglers: i64,
}

impl Figures {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let seconds = |column| -> Result<f64, Error> {
            Ok(row
                .try_get::<_, Option<f64>>(column)?
                .unwrap_or(0.0)
                .max(0.0))
        };
        Ok(Self {
            key_available: row.try_get("key_available")?,
            workers: [
                ("auditor", row.try_get("auditor")?),
                ("bookkeeper", row.try_get("bookkeeper")?),
                ("notifier", row.try_get("notifier")?),
                ("maintenance", row.try_get("maintenance")?),
            ],
            pending_deliveries: row.try_get("pending_deliveries")?,
            oldest_pending: seconds("oldest_pending_seconds")?,
            unchained_records: row.try_get("unchained_records")?,
            oldest_unchained: seconds("oldest_unchained_seconds")?,
            denied_reads: row.try_get("denied_reads")?,
            versions_in_grace: row.try_get("versions_in_grace")?,
            stragglers: row.try_get("stragglers")?,
        })
    }

    /// Whether no worker is known to be missing.
    pub(crate) fn workers_run(&self) -> bool {
        self.workers.iter().all(|(_, runs)| *runs != Some(false))
    }
}

/// What the database answered when it was asked last.
type Asked = Option<(Instant, Option<Figures>)>;

/// The figures of the last moment.
#[derive(Clone, Default)]
pub(crate) struct RecentFigures(Arc<Mutex<Asked>>);

impl RecentFigures {
    /// The figures, no older than a second; `None` where the database does not answer.
    pub(crate) async fn get(&self, database: &Database) -> Option<Figures> {
        // Held while the database is asked: who asks at the same time gets the same answer.
        let mut recent = self.0.lock().await;
        if let Some((at, figures)) = recent.as_ref()
            && at.elapsed() < FRESH
        {
            return figures.clone();
        }
        let asked = timeout(LIMIT, database.run(STATEMENT, &[])).await;
        let figures = match asked {
            Ok(Ok(rows)) => rows.first().and_then(|row| Figures::from_row(row).ok()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the database gives no figures");
                None
            }
            Err(_) => None,
        };
        *recent = Some((Instant::now(), figures.clone()));
        figures
    }
}
