//! Whether the background workers run.

use super::finding::Finding;
use super::session::Session;

const SUBJECT: &str = "workers";

/// Each worker, and what does not happen without it.
const WORKERS: &[(&str, &str, bool)] = &[
    (
        "pg_secrets launcher",
        "the others are not started again",
        false,
    ),
    ("pg_secrets auditor", "nothing can be read", false),
    (
        "pg_secrets bookkeeper",
        "records are not chained, and uses not stored",
        false,
    ),
    (
        "pg_secrets notifier",
        "webhooks wait until the relay looks by itself",
        true,
    ),
    (
        "pg_secrets maintenance",
        "no grace ends, nothing is rotated or purged when it is due",
        true,
    ),
];

pub(super) async fn look(session: &Session) -> Vec<Finding> {
    let asked = session
        .rows(
            "SELECT coalesce(backend_type, ''), pg_catalog.current_setting('pg_secrets.workers', true) FROM pg_catalog.pg_stat_activity",
            &[],
        )
        .await;
    let rows = match asked {
        Ok(rows) => rows,
        Err(refusal) => {
            let why = refusal.explain("a member of pg_read_all_stats");
            return vec![Finding::not_checked(SUBJECT, why)];
        }
    };
    let running: Vec<&str> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    let setting: Option<&str> = rows.first().and_then(|row| row.try_get(1).ok()?);
    // Of processes of others such a login sees that they are there, and not what they are.
    if !running.contains(&"checkpointer") {
        return vec![Finding::not_checked(
            SUBJECT,
            "this login may not look; a member of pg_read_all_stats may",
        )];
    }
    let expected = WORKERS
        .iter()
        .filter(|(_, _, optional)| !optional || setting != Some("off"));
    let missing: Vec<Finding> = expected
        .filter(|(name, _, _)| !running.contains(name))
        .map(|(name, without, _)| {
            Finding::wrong(
                SUBJECT,
                format!("the process '{name}' does not run: {without}"),
                "The server's log says why it ended. It is started again within seconds, unless max_worker_processes is too small for it.",
            )
        })
        .collect();
    if missing.is_empty() {
        return vec![Finding::fine(SUBJECT, "all of them run")];
    }
    missing
}
