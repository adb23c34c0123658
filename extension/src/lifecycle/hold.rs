//! Keeping a version that somebody still reads, where the project's policy says so: its end is put off, step
//! by step and before it comes, so that no read fails meanwhile.

use crate::backend::session::{Param, Session, Statement};
use crate::backend::timestamp;
use crate::error::{Error, Result};
use crate::gucs;
use crate::lifecycle::version::{self, Version};
use crate::maintenance::Actor;
use crate::{audit::changes, outbox::event};
use serde_json::json;
use uuid::Uuid;

// Whoever uses a service's name without being bound to it neither makes a hold last nor ends one: only
// verified reads count, of this version and of newer ones.
static HOLDING: Statement = Statement::new(
    c"SELECT r.service, pg_catalog.count(*) OVER () FROM control_plane.current_reads AS r WHERE r.secret_id = $1 AND r.verified ORDER BY r.service LIMIT 100",
);

static HOLD: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET held_from = h.held_from, expires_at = h.becomes FROM (SELECT v.id, v.held_from IS NULL AS begins, coalesce(v.held_from, v.expires_at) AS held_from, v.expires_at AS was, LEAST(now.at + $2 * 2, coalesce(v.held_from, v.expires_at) + p.hold_limit) AS becomes, coalesce(v.held_from, v.expires_at) + p.hold_limit AS limit_at FROM control_plane.secrets AS v JOIN control_plane.policies AS p ON p.project_id = v.project_id AND p.hold_for_stragglers CROSS JOIN (SELECT pg_catalog.clock_timestamp() AS at) AS now WHERE v.id = $1 AND v.destroyed_at IS NULL AND v.deleted_at IS NULL AND v.expires_at > now.at AND v.expires_at <= now.at + $2) AS h WHERE s.id = h.id AND h.becomes > h.was RETURNING h.begins, h.held_from, h.limit_at",
);

/// How long before the end a hold is decided and prolonged, in microseconds: the worker comes by three times
/// meanwhile, whatever it is woken by.
pub(crate) fn lead() -> i64 {
    let lead = gucs::maintenance_interval().saturating_mul(3);
    i64::try_from(lead.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Puts off the end of the version with this id, whose name is locked, if it is near, the policy says so, and
/// a verified consumer still reads it. Whether that began a hold; it goes on without a word.
pub(crate) fn hold(session: &Session, actor: &Actor<'_>, id: Uuid) -> Result<bool> {
    let holding = session.run(&HOLDING, &[Param::Uuid(Some(id))])?;
    let Some(count) = holding.iter().find_map(|row| row.bigint(1)) else {
        return Ok(false);
    };
    let services: Vec<String> = holding.iter().filter_map(|row| row.text(0)).collect();
    let Some(row) = version::by_id(session, id)? else {
        return Ok(false);
    };
    let version = Version::read(&row)?;
    let held = {
        // One record and one event for each hold, not for each step.
        let _recorded = changes::recorded_elsewhere();
        let params = [Param::Uuid(Some(id)), Param::Interval(lead())];
        session.run(&HOLD, &params)?.first()
    };
    let Some(held) = held.filter(|held| held.boolean(0) == Some(true)) else {
        return Ok(false);
    };
    let time = |column| {
        let at = held
            .timestamp(column)
            .ok_or_else(|| Error::internal("a hold without an end"))?;
        timestamp::of(session, at)
    };
    let data = json!({
        "version": version.number,
        "held_from": time(1)?,
        "held_until_at_most": time(2)?,
        "stragglers": services,
        "straggler_count": count,
    });
    let mut record = version.record("secret.grace_held");
    record.detail = Some(data.clone());
    actor.write(session, record)?;
    event::emit(session, &version.event("secret.grace_held", data))?;
    Ok(true)
}
