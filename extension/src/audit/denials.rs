//! Refused reads that are too many: once an actor has passed the threshold, those who watch over the
//! projects concerned are told by the event audit.denied, and the server's log says so.

use crate::access::identity::Caller;
use crate::audit::progress::{self, Purpose};
use crate::audit::record::{self, Record};
use crate::audit::ring::{self, Seen};
use crate::backend::raise;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::gucs;
use crate::outbox::event;
use pgrx::PgLogLevel;
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Within which time the refused reads of an actor are counted, and how long it is not told of again.
const WINDOW: Duration = Duration::from_secs(10 * 60);

/// Of how many actors it is remembered that they were told of.
const MOST_ACTORS: usize = 1000;

/// Whom was told of, and when.
#[derive(Default)]
pub(super) struct Told(HashMap<String, Instant>);

static ACTORS: Statement = Statement::new(
    c"SELECT DISTINCT a.actor FROM control_plane.audit_logs AS a WHERE a.arrival > $1 AND a.arrival <= $2 AND a.action = 'secret.access_denied' LIMIT 1000",
);

static LATEST: Statement = Statement::new(
    c"SELECT d.project_id, EXISTS (SELECT FROM control_plane.secret_names AS n WHERE n.project_id = d.project_id) FROM (SELECT a.project_id, a.at FROM control_plane.audit_logs AS a WHERE a.actor = $1 AND a.outcome = 'denied' AND a.action = 'secret.access_denied' ORDER BY a.id DESC LIMIT $2) AS d WHERE d.at > pg_catalog.clock_timestamp() - $3",
);

/// Looks at the actors of new refusals.
pub(super) fn watch(session: &Session, told: &mut Told) -> Result<()> {
    let from = progress::of(session, Purpose::Denials)?;
    let to = ring::settled();
    if to <= from {
        return Ok(());
    }
    let threshold = gucs::denied_threshold();
    if threshold > 0 && ring::may_have(Seen::Denial, from) {
        told.0.retain(|_, since| since.elapsed() < WINDOW);
        let actors = session.run(&ACTORS, &[Param::Bigint(from), Param::Bigint(to)])?;
        for actor in actors.iter().filter_map(|row| row.text(0)) {
            if !told.0.contains_key(&actor) && told.0.len() < MOST_ACTORS {
                look_at(session, &actor, threshold, told)?;
            }
        }
    }
    progress::advance(session, Purpose::Denials, to)
}

fn look_at(session: &Session, actor: &str, threshold: i32, told: &mut Told) -> Result<()> {
    let latest = session.run(
        &LATEST,
        &[
            Param::Text(Some(actor)),
            Param::Bigint(i64::from(threshold)),
            Param::Interval(i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX)),
        ],
    )?;
    if latest.affected() < u64::from(threshold.unsigned_abs()) {
        return Ok(());
    }
    let mut projects: Vec<String> = latest
        .iter()
        .filter(|row| row.boolean(1) == Some(true))
        .filter_map(|row| row.text(0))
        .collect();
    projects.sort_unstable();
    projects.dedup();
    let window = WINDOW.as_secs();
    for project in &projects {
        let data = json!({"actor": actor, "denied_at_least": threshold, "window_seconds": window});
        event::emit_notice(session, "audit.denied", project, data)?;
    }
    let mut alarm = Record::new("audit.denied");
    alarm.detail = Some(json!({
        "actor": actor,
        "denied_at_least": threshold,
        "window_seconds": window,
        "projects": projects,
    }));
    record::write(session, &Caller::worker(), alarm)?;
    let said = format!(
        "pg_secrets: {actor:?} was refused {threshold} reads or more within {window} seconds; control_plane.denied_reads() counts them"
    );
    raise::log(PgLogLevel::WARNING, &said);
    told.0.insert(actor.to_owned(), Instant::now());
    Ok(())
}
