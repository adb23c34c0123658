//! Whether records are chained soon after they were made.

use super::finding::Finding;
use super::session::Session;

const SUBJECT: &str = "audit";

/// How long a record may wait for its link, in seconds. It takes less than one.
const LONGEST: f64 = 30.0;

/// Of the newest records, how many have no link in the chain, and how old the oldest of them is.
const LAG: &str = include_str!("../../../sql/doctor/unchained_records.sql");

pub(super) async fn look(session: &Session) -> Vec<Finding> {
    let rows = match session.rows(LAG, &[]).await {
        Ok(rows) => rows,
        Err(refusal) => {
            return vec![Finding::not_checked(
                SUBJECT,
                refusal.explain("a superuser"),
            )];
        }
    };
    let count: i64 = rows
        .first()
        .and_then(|row| row.try_get(0).ok())
        .unwrap_or(0);
    let age: f64 = rows
        .first()
        .and_then(|row| row.try_get(1).ok())
        .unwrap_or(0.0);
    vec![if count > 0 && age > LONGEST {
        Finding::wrong(
            SUBJECT,
            format!(
                "{count} records are not chained yet, the oldest since {age:.0} s: until then nothing shows that they were changed"
            ),
            "Look in pg_stat_activity at what the process 'pg_secrets bookkeeper' waits for, and into the server's log.",
        )
    } else {
        Finding::fine(SUBJECT, "records are chained as they come")
    }]
}
