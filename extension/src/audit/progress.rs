//! How far the records of reads were gone through, for each purpose by itself. A restored database brings
//! what another server had noted: then the least counts, and what lies behind it is gone through again.

use crate::audit::{protection, segment};
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;

/// What the records are gone through for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Chain,
    Usage,
    Denials,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Purpose::Chain => "chain",
            Purpose::Usage => "usage",
            Purpose::Denials => "denials",
        }
    }
}

static OF: Statement = Statement::new(
    c"SELECT pg_catalog.min(p.arrival) FROM control_plane.audit_progress AS p WHERE p.purpose = $1",
);

/// The arrival of the last record that was gone through; 0 where none was.
pub(super) fn of(session: &Session, purpose: Purpose) -> Result<i64> {
    let progress = session.run(&OF, &[Param::Text(Some(purpose.name()))])?;
    Ok(progress.first().and_then(|row| row.bigint(0)).unwrap_or(0))
}

static ADVANCE: Statement = Statement::new(
    c"INSERT INTO control_plane.audit_progress AS p (segment, purpose, arrival) VALUES ($1, $2, $3) ON CONFLICT (segment, purpose) DO UPDATE SET arrival = excluded.arrival",
);

static ADVANCE_OTHERS: Statement = Statement::new(
    c"UPDATE control_plane.audit_progress AS p SET arrival = $3 WHERE p.segment <> $1 AND p.purpose = $2 AND p.arrival < $3",
);

/// Notes it, in the transaction that went through them.
pub(super) fn advance(session: &Session, purpose: Purpose, arrival: i64) -> Result<()> {
    let _permitted = protection::permit();
    let params = [
        Param::Uuid(Some(segment::current())),
        Param::Text(Some(purpose.name())),
        Param::Bigint(arrival),
    ];
    session.run(&ADVANCE, &params)?;
    session.run(&ADVANCE_OTHERS, &params)?;
    Ok(())
}
