//! The warning that a version's grace ends soon.

use crate::backend::session::{Param, Session, Statement};
use crate::backend::timestamp;
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, Version};
use crate::maintenance::Actor;
use crate::outbox::event;
use serde_json::json;
use uuid::Uuid;

// A version that cannot be read, since its grace is over or its secret deleted, breaks nobody any more.
static WARN: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET warned_at = now.at FROM (SELECT pg_catalog.clock_timestamp() AS at) AS now WHERE s.id = $1 AND s.warned_at IS NULL AND s.destroyed_at IS NULL AND s.deleted_at IS NULL AND s.expires_at > now.at AND s.expires_at <= now.at + $2 RETURNING s.expires_at",
);

// At most so many are listed, and all are counted. Those that somebody vouches for come first: names are free
// to whoever may read.
static STRAGGLERS: Statement = Statement::new(
    c"SELECT r.service, pg_catalog.count(*) OVER () FROM control_plane.current_reads AS r WHERE r.secret_id = $1 ORDER BY r.verified DESC, r.last_used_at DESC, r.service LIMIT 100",
);

/// Warns of the version with this id, whose name is locked, if its grace ends within `warning`
/// microseconds and nobody has warned of it; false where that is not so.
pub(crate) fn warn(session: &Session, actor: &Actor<'_>, id: Uuid, warning: i64) -> Result<bool> {
    let Some(row) = version::by_id(session, id)? else {
        return Ok(false);
    };
    let version = Version::read(&row)?;
    let stragglers = session.run(&STRAGGLERS, &[Param::Uuid(Some(id))])?;
    let count = stragglers.iter().find_map(|row| row.bigint(1)).unwrap_or(0);
    let services: Vec<String> = stragglers.iter().filter_map(|row| row.text(0)).collect();
    let mut record = version.record("secret.expiring");
    record.detail = Some(json!({"straggler_count": count}));
    let warned = {
        let _declared = actor.declare(record);
        let params = [Param::Uuid(Some(id)), Param::Interval(warning)];
        session.run(&WARN, &params)?.first()
    };
    let Some(warned) = warned else {
        return Ok(false);
    };
    let expires_at = warned
        .timestamp(0)
        .ok_or_else(|| Error::internal("a grace without an end"))?;
    let data = json!({
        "version": version.number,
        "expires_at": timestamp::of(session, expires_at)?,
        "stragglers": services,
        "straggler_count": count,
    });
    event::emit(session, &version.event("secret.expiring", data))?;
    Ok(true)
}
