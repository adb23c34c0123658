//! How an endpoint is doing, and what follows from it: less at a time, a pause, the end.

use crate::access::identity::Caller;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::raise;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::{event, settings};
use pgrx::PgLogLevel;
use serde_json::json;
use uuid::Uuid;

/// The longest pause of an endpoint that asks for less, in microseconds, unless it asks for more.
const LONGEST_PAUSE: i64 = 5 * 60 * 1_000_000;

/// The state of an endpoint, as far as tries change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    /// False when the last try got no answer at all.
    pub(super) answering: bool,
    /// How many tries in a row were answered with a wish for less.
    pub(super) slow_downs: i32,
    /// The first failure since the last success, in microseconds since 2000.
    pub(super) failing_since: Option<i64>,
}

/// What a try makes of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    health: Health,
    not_before: Option<i64>,
    disabled: Option<&'static str>,
}

/// Whether the endpoint is still one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Disabled,
}

impl After {
    /// The same, but that the first try of a delivery does not disable the endpoint for having failed too
    /// long: where nothing was sent for days, nobody knows how it did meanwhile.
    pub(super) fn of_first_try(mut self) -> Self {
        self.disabled = self.disabled.filter(|reason| *reason != FAILING);
        self
    }
}

/// Why an endpoint is disabled that has failed for pg_secrets.endpoint_failure_limit.
const FAILING: &str = "failing";

impl Health {
    /// The state after a try that ended with this status at `now`; `retry_after` is in microseconds.
    pub(super) fn after(self, status: Option<i32>, retry_after: i64, now: i64) -> After {
        if status.is_some_and(|status| (200..300).contains(&status)) {
            return After {
                health: Self {
                    answering: true,
                    slow_downs: 0,
                    failing_since: None,
                },
                not_before: None,
                disabled: None,
            };
        }
        let slower = matches!(status, Some(429 | 502 | 504));
        let doubled = 1_000_000_i64 << self.slow_downs.clamp(0, 10);
        let too_long = self
            .failing_since
            .is_some_and(|since| now - since >= settings::endpoint_failure_limit());
        After {
            health: Self {
                answering: status.is_some(),
                slow_downs: match slower {
                    true => self.slow_downs.saturating_add(1),
                    false => self.slow_downs,
                },
                failing_since: self.failing_since.or(Some(now)),
            },
            not_before: slower.then(|| now + doubled.min(LONGEST_PAUSE).max(retry_after)),
            disabled: match status {
                Some(410) => Some("gone"),
                _ if too_long => Some(FAILING),
                _ => None,
            },
        }
    }
}

static LOCK: Statement = Statement::new(
    c"SELECT e.project_id, e.service::text, e.enabled, e.disabled_reason IS NOT NULL FROM control_plane.endpoints AS e WHERE e.id = $1 FOR NO KEY UPDATE",
);

static STORE: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET answering = $2, slow_downs = $3, failing_since = CASE WHEN $4 IS NOT NULL THEN coalesce(e.failing_since, $4) END, not_before = greatest($5, CASE WHEN $4 IS NOT NULL THEN e.not_before END) WHERE e.id = $1",
);

static DISABLE: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET enabled = false, disabled_reason = $2 WHERE e.id = $1 AND e.enabled",
);

// What is under way tells its own end.
static GIVE_UP: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'failed', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_error = 'the endpoint was disabled' WHERE d.id IN (SELECT l.id FROM control_plane.deliveries AS l WHERE l.endpoint_id = $1 AND l.status = 'pending' AND (l.leased_until IS NULL OR l.leased_until <= pg_catalog.clock_timestamp()) FOR NO KEY UPDATE SKIP LOCKED)",
);

/// Stores what a try has made of the endpoint, where that is anything new, and disables it where it must
/// be: what waits for it is then a dead letter, and an event tells of it once.
pub(super) fn store(
    session: &Session,
    endpoint: Uuid,
    before: Health,
    after: After,
) -> Result<Verdict> {
    // A failure looks in any case: another try may have disabled the endpoint since this one's was read,
    // and what would wait for the next try then waits for nothing.
    if before == after.health && after.health.failing_since.is_none() {
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
