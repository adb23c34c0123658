//! Retention: events, deliveries and tries that are over for longer than pg_secrets.delivery_retention
//! are removed, a batch in one transaction; and signing secrets whose overlap has ended.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::changes;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::id;
use crate::outbox::settings;

/// How many rows of a kind are removed in one transaction.
const BATCH: i32 = 1000;

static FORGET_SECRETS: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET previous_secret_encrypted = NULL, previous_key_fingerprint = NULL, previous_until = NULL WHERE e.id IN (SELECT l.id FROM control_plane.endpoints AS l WHERE l.previous_until <= pg_catalog.clock_timestamp() FOR NO KEY UPDATE SKIP LOCKED)",
);

// A rotation that was under way may have added one for an endpoint that was being deleted.
static DROP_ORPHANS: Statement = Statement::new(
    c"DELETE FROM control_plane.deliveries AS d WHERE d.id IN (SELECT l.id FROM control_plane.deliveries AS l WHERE l.status = 'pending' AND l.created_at < $1 AND (l.leased_until IS NULL OR l.leased_until <= pg_catalog.clock_timestamp()) AND NOT EXISTS (SELECT FROM control_plane.endpoints AS e WHERE e.id = l.endpoint_id) LIMIT $2 FOR UPDATE SKIP LOCKED)",
);

// What tells of a version that can be read stays: blast_radius says by it who was told, and a late reader
// is told by it.
static DROP_DELIVERIES: Statement = Statement::new(
    c"DELETE FROM control_plane.deliveries AS d WHERE d.id IN (SELECT l.id FROM control_plane.outbox AS o JOIN control_plane.deliveries AS l ON l.event_id = o.id WHERE o.id < $1 AND l.status <> 'pending' AND l.finished_at < $2 AND NOT EXISTS (SELECT FROM control_plane.versions AS v WHERE v.id = o.secret_id AND v.state IN ('active', 'grace')) ORDER BY o.id LIMIT $3 FOR UPDATE OF l SKIP LOCKED)",
);

static DROP_EVENTS: Statement = Statement::new(
    c"DELETE FROM control_plane.outbox AS o WHERE o.id IN (SELECT l.id FROM control_plane.outbox AS l WHERE l.id < $1 AND NOT EXISTS (SELECT FROM control_plane.deliveries AS d WHERE d.event_id = l.id) AND NOT EXISTS (SELECT FROM control_plane.versions AS v WHERE v.id = l.secret_id AND v.state IN ('active', 'grace')) ORDER BY l.id LIMIT $2 FOR UPDATE SKIP LOCKED)",
);

// What was under way when its endpoint was disabled, by a relay that did not live to tell how it ended.
static GIVE_UP: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'failed', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_error = 'the endpoint was disabled' WHERE d.id IN (SELECT l.id FROM control_plane.endpoints AS e JOIN control_plane.deliveries AS l ON l.endpoint_id = e.id WHERE e.disabled_reason IS NOT NULL AND l.status = 'pending' AND (l.leased_until IS NULL OR l.leased_until <= pg_catalog.clock_timestamp()) LIMIT $1 FOR NO KEY UPDATE OF l SKIP LOCKED)",
);

/// Removes a batch of what is over; whether there may be more. For a worker, as the tables' owner.
pub(crate) fn sweep(session: &Session) -> Result<bool> {
    {
        // The record of the rotation says when it ends.
        let _declared = changes::recorded_elsewhere();
        session.run(&FORGET_SECRETS, &[])?;
    }
    let batch = Param::Integer(Some(BATCH));
    let an_hour_ago = Param::Timestamp(Some(id::now() - 3_600_000_000));
    let mut most = session
        .run(&DROP_ORPHANS, &[an_hour_ago, batch])?
        .affected();
    most = most.max(session.run(&GIVE_UP, &[batch])?.affected());
    if let Some(retention) = settings::delivery_retention() {
        let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        let end = id::now().saturating_sub(retention);
        let before = Param::Uuid(Some(id::least_at(end)));
        let end = Param::Timestamp(Some(end));
        let deliveries = session.run(&DROP_DELIVERIES, &[before, end, batch])?;
        let events = session.run(&DROP_EVENTS, &[before, batch])?;
        most = most.max(deliveries.affected()).max(events.affected());
    }
    Ok(most >= BATCH as u64)
}

/// sweep_deliveries: removes a batch of what is over; whether there may be more.
pub(crate) fn sweep_deliveries<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    Rights::of_administrator(session, caller)?;
    sweep(session).map(Answer::Boolean)
}
