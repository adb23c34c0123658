//! Heads of the chain on a schedule: kept in the database, told to the endpoints that want audit.head, and
//! written to the server's log, so that they are in more places than somebody can reach at once.

use crate::audit::chain::{self, Position};
use crate::audit::head::{self, Kind};
use crate::backend::raise;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::gucs;
use crate::outbox::event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgrx::PgLogLevel;
use serde_json::json;

static RECENT: Statement = Statement::new(
    c"SELECT pg_catalog.max(h.signed_at) + $1 > pg_catalog.clock_timestamp(), pg_catalog.bool_or(h.segment = $2 AND h.seq = $3) FROM control_plane.audit_heads AS h WHERE h.kind = 'head'",
);

static PROJECTS: Statement = Statement::new(
    c"SELECT DISTINCT e.project_id FROM control_plane.endpoints AS e WHERE e.enabled AND (e.event_types IS NULL AND e.service IS NULL OR 'audit.head' = ANY (e.event_types))",
);

/// Signs and announces the last link, if the last time was long enough ago and there is something new.
pub(super) fn announce(session: &Session) -> Result<()> {
    let Some(interval) = gucs::audit_head_interval() else {
        return Ok(());
    };
    let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
    let position = chain::last(session)?;
    let params = [
        Param::Interval(interval),
        Param::Uuid(Some(position.segment)),
        Param::Bigint(position.seq),
    ];
    let recent = session.run(&RECENT, &params)?.first();
    let is = |column| recent.as_ref().and_then(|row| row.boolean(column)) == Some(true);
    if is(0) || is(1) || position == Position::BEGINNING {
        return Ok(());
    }
    let signed = head::sign(session, Kind::Head, position)?;
    head::keep(session, Kind::Head, position, &signed)?;
    let hash = head::hex(&position.hash);
    let projects = session.run(&PROJECTS, &[])?;
    for project in projects.iter().filter_map(|row| row.text(0)) {
        let data = json!({
            "segment": position.segment,
            "seq": position.seq,
            "hash": hash,
            "head": signed,
        });
        event::emit_notice(session, "audit.head", &project, data)?;
    }
    let line = format!(
        "pg_secrets audit head: segment {} seq {} hash {hash} signed {}",
        position.segment,
        position.seq,
        STANDARD.encode(&signed)
    );
    raise::log(PgLogLevel::LOG, &line);
    Ok(())
}
