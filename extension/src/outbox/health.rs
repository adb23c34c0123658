//! How an endpoint is doing, and what follows from it: less at a time, a pause, the end.

use crate::access::identity::Caller;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::raise;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::outbox::{event, settings};
use pgrx::PgLogLevel;
use serde_json::json;
use uuid::Uuid;

/// The longest pause of an endpoint that asks for less, in microseconds, unless it asks for more.
const LONGEST_PAUSE: i64 = 5 * 60 * 1_000_000;

/// A receiver that takes longer to answer than this, in milliseconds, gets one webhook at a time.
pub(super) const SLOW_MS: i32 = 5000;

/// Why an endpoint is disabled that has failed for pg_secrets.endpoint_failure_limit.
const FAILING: &str = "failing";

/// The state of an endpoint, as far as tries change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    /// False when the last try got no answer, or none soon.
    pub(super) answering: bool,
    /// How many tries in a row were answered with a wish for less.
    pub(super) slow_downs: i32,
    /// The first failure since the last success, in microseconds since 2000.
    pub(super) failing_since: Option<i64>,
}

/// What a try tells of its endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct TryEnded {
    /// The HTTP status, where there was an answer.
    pub(super) status: Option<i32>,
    /// How long the receiver wants nothing, in microseconds.
    pub(super) retry_after: i64,
    /// Whether the answer took longer than [`SLOW_MS`].
    pub(super) slow: bool,
    /// Whether it was the first try of its delivery.
    pub(super) first: bool,
    /// The endpoint's generation when the delivery was claimed.
    pub(super) generation: Option<i32>,
}

/// What a try makes of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct After {
    health: Health,
    not_before: Option<i64>,
    disabled: Option<&'static str>,
}

/// Whether the endpoint is still one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Disabled,
    /// It has another URL since, or was enabled again: what the try found says nothing of it as it is now.
    BegunAnew,
}

impl Health {
    /// The state after a try that ended so at `now`.
    fn after(self, ended: &TryEnded, now: i64) -> After {
        let answering = ended.status.is_some() && !ended.slow;
        if ended
            .status
            .is_some_and(|status| (200..300).contains(&status))
        {
            return After {
                health: Self {
                    answering,
                    slow_downs: 0,
                    failing_since: None,
                },
                not_before: None,
                disabled: None,
            };
        }
        let slower = matches!(ended.status, Some(429 | 502 | 504));
        let doubled = 1_000_000_i64 << self.slow_downs.clamp(0, 10);
        let too_long = self
            .failing_since
            .is_some_and(|since| now - since >= settings::endpoint_failure_limit());
        After {
            health: Self {
                answering,
                slow_downs: match slower {
                    true => self.slow_downs.saturating_add(1),
                    false => self.slow_downs,
                },
                failing_since: self.failing_since.or(Some(now)),
            },
            not_before: slower.then(|| now + doubled.min(LONGEST_PAUSE).max(ended.retry_after)),
            disabled: match ended.status {
                Some(410) => Some("gone"),
                // Where nothing was sent for days, nobody knows how it did meanwhile.
                _ if too_long && !ended.first => Some(FAILING),
                _ => None,
            },
        }
    }
}

static LOCK: Statement = Statement::new(
    c"SELECT e.project_id, e.service::text, e.enabled, e.disabled_reason IS NOT NULL, e.answering, e.slow_downs, e.failing_since, e.generation FROM control_plane.endpoints AS e WHERE e.id = $1 FOR NO KEY UPDATE",
);

static STORE: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET answering = $2, slow_downs = $3, failing_since = $4, not_before = greatest($5, CASE WHEN $4 IS NOT NULL THEN e.not_before END) WHERE e.id = $1",
);

static DISABLE: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET enabled = false, disabled_reason = $2 WHERE e.id = $1 AND e.enabled",
);

// What is under way tells its own end.
static GIVE_UP: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'failed', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_error = 'the endpoint was disabled' WHERE d.id IN (SELECT l.id FROM control_plane.deliveries AS l WHERE l.endpoint_id = $1 AND l.status = 'pending' AND (l.leased_until IS NULL OR l.leased_until <= pg_catalog.clock_timestamp()) FOR NO KEY UPDATE SKIP LOCKED)",
);

/// Stores what a try has made of the endpoint, where that is anything new, and disables it where it must
/// be: what waits for it is then a dead letter, and an event tells of it once. `seen` is its state as it was
/// read without a lock: a success that changes nothing about it, the ordinary case, waits for nobody.
pub(super) fn store(
    session: &Session,
    endpoint: Uuid,
    seen: Health,
    ended: &TryEnded,
) -> Result<Verdict> {
    // A failure looks in any case: another try may have disabled the endpoint since this one's was read,
    // and what would wait for the next try then waits for nothing.
    let now = id::now();
    let expected = seen.after(ended, now).health;
    if expected == seen && seen.failing_since.is_none() {
        return Ok(Verdict::Stays);
    }
    let id = Param::Uuid(Some(endpoint));
    let Some(row) = session.run(&LOCK, &[id])?.first() else {
        return Ok(Verdict::Stays);
    };
    let missing = || Error::internal("an endpoint without its project");
    let project = row.text(0).ok_or_else(missing)?;
    let service = row.text(1);
    let enabled = row.boolean(2) == Some(true);
    if row.boolean(3) == Some(true) {
        return Ok(Verdict::Disabled);
    }
    if row.integer(7) != ended.generation {
        return Ok(Verdict::BegunAnew);
    }
    let before = Health {
        answering: row.boolean(4).unwrap_or(true),
        slow_downs: row.integer(5).unwrap_or(0),
        failing_since: row.timestamp(6),
    };
    let after = before.after(ended, now);
    if before == after.health && after.not_before.is_none() && after.disabled.is_none() {
        return Ok(Verdict::Stays);
    }
    {
        // No change of somebody's, but what came of sending.
        let _declared = changes::recorded_elsewhere();
        session.run(
            &STORE,
            &[
                id,
                Param::Boolean(after.health.answering),
                Param::Integer(Some(after.health.slow_downs)),
                Param::Timestamp(after.health.failing_since),
                Param::Timestamp(after.not_before),
            ],
        )?;
    }
    let Some(reason) = after.disabled.filter(|_| enabled) else {
        return Ok(Verdict::Stays);
    };
    let mut record = Record::new("endpoint.disabled");
    record.project_id = Some(project.clone());
    record.service = service.clone();
    record.detail = Some(json!({"endpoint_id": endpoint, "reason": reason}));
    {
        // It follows from what the receiver does, whichever companion told of it.
        let _declared = changes::declare(&Caller::worker(), record);
        session.run(&DISABLE, &[id, Param::Text(Some(reason))])?;
    }
    session.run(&GIVE_UP, &[id])?;
    let data = json!({"endpoint_id": endpoint, "service": service, "reason": reason});
    event::emit_notice(session, "endpoint.disabled", &project, data)?;
    let said = format!(
        "pg_secrets: the endpoint {endpoint} of the project {project:?} was disabled, since it is {reason}; control_plane.list_deliveries() says what it answered"
    );
    raise::log(PgLogLevel::WARNING, &said);
    Ok(Verdict::Disabled)
}
