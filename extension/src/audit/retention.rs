//! Retention: what is older than pg_secrets.audit_retention is removed from the beginning of the chain, in
//! small batches, and only what is as it was chained. A signed checkpoint says up to where.

use crate::access::identity::Caller;
use crate::audit::chain::{self, Position};
use crate::audit::head::{self, Kind};
use crate::audit::record::{self, Record};
use crate::audit::signed::Checkpoints;
use crate::audit::verify::Covered;
use crate::audit::{protection, walk};
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::gucs;
use serde_json::json;
use uuid::Uuid;

/// How many records are removed in one transaction.
const BATCH: i64 = 1000;

static OLDEST: Statement = Statement::new(
    c"SELECT c.seq, c.segment, a.at < pg_catalog.clock_timestamp() - $1, a.at IS NULL FROM control_plane.audit_chain AS c LEFT JOIN LATERAL (SELECT a.at FROM control_plane.audit_logs AS a WHERE a.id = c.record_id OFFSET 0) AS a ON true WHERE c.segment = $2 ORDER BY c.seq LIMIT $3",
);

static SEGMENTS: Statement =
    Statement::new(c"SELECT DISTINCT c.segment FROM control_plane.audit_chain AS c");

/// Removes a batch of what is too old; whether there may be more.
pub(super) fn sweep(session: &Session) -> Result<bool> {
    let Some(retention) = gucs::audit_retention() else {
        return Ok(false);
    };
    let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let segments: Vec<Uuid> = session
        .run(&SEGMENTS, &[])?
        .iter()
        .filter_map(|row| row.uuid(0))
        .collect();
    for segment in segments {
        if sweep_segment(session, segment, retention)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sweep_segment(session: &Session, segment: Uuid, retention: i64) -> Result<bool> {
    let params = [
        Param::Interval(retention),
        Param::Uuid(Some(segment)),
        Param::Bigint(BATCH),
    ];
    let oldest = session.run(&OLDEST, &params)?;
    let old: Vec<i64> = oldest
        .iter()
        // A record that is gone is one to stop at, not one to wait for.
        .take_while(|row| row.boolean(2) == Some(true) || row.boolean(3) == Some(true))
        .filter_map(|row| row.bigint(0))
        .collect();
    let (Some(&first), Some(&last)) = (old.first(), old.last()) else {
        return Ok(false);
    };
    // Whoever forges a checkpoint must not have it replaced by one that is signed.
    let checkpoints = Checkpoints::read(session)?;
    let before = match checkpoints.of(segment) {
        Some(checkpoint) => checkpoint,
        None => chain::before(session, segment, first)?,
    };
    if let Some(finding) = &checkpoints.finding {
        return Err(Error::unprocessable(format!(
            "retention stops at records that cannot be checked: {}",
            finding.explanation
        )));
    }
    let mut covered = Covered::default();
    if walk::walk(session, segment, before, last, &mut covered)?.is_some() {
        return Err(Error::unprocessable(
            "retention stops at records that are not what was chained: control_plane.verify_audit() names the first",
        ));
    }
    let position = chain::at(session, segment, last)?
        .ok_or_else(|| Error::internal("the link that retention ends at is gone"))?;
    // Without a key that signs nothing is removed.
    let signed = head::sign(session, Kind::Checkpoint, position)?;
    remove(session, position)?;
    head::keep(session, Kind::Checkpoint, position, &signed)?;

    let mut retained = Record::new("audit.retained");
    retained.detail = Some(json!({
        "segment": segment,
        "from_seq": first,
        "to_seq": last,
        "records": old.len(),
    }));
    record::write(session, &Caller::worker(), retained)?;
    Ok(i64::try_from(old.len()).unwrap_or(0) >= BATCH)
}

static REMOVE_RECORDS: Statement = Statement::new(
    c"DELETE FROM control_plane.audit_logs AS a USING control_plane.audit_chain AS c WHERE c.segment = $1 AND c.seq <= $2 AND a.id = c.record_id",
);

static REMOVE_LINKS: Statement = Statement::new(
    c"DELETE FROM control_plane.audit_chain AS c WHERE c.segment = $1 AND c.seq <= $2",
);

static REMOVE_HEADS: Statement = Statement::new(
    c"DELETE FROM control_plane.audit_heads AS h WHERE h.segment = $1 AND (h.seq < $2 OR h.kind = 'checkpoint')",
);

fn remove(session: &Session, up_to: Position) -> Result<()> {
    let _permitted = protection::permit();
    let params = [Param::Uuid(Some(up_to.segment)), Param::Bigint(up_to.seq)];
    session.run(&REMOVE_RECORDS, &params)?;
    session.run(&REMOVE_LINKS, &params)?;
    session.run(&REMOVE_HEADS, &params)?;
    Ok(())
}
