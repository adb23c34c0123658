//! Who uses which version, worked out from the records of reads behind the readers' backs; the rule stands
//! in sql/43_usage.sql.

use crate::audit::changes;
use crate::audit::progress::{self, Purpose};
use crate::audit::ring::{self, Seen};
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::workers::wake;

static STORE: Statement = Statement::new(c"SELECT control_plane.store_usage($1, $2)");

static DEFERRED: Statement =
    Statement::new(c"SELECT FROM control_plane.usage_deferred AS d LIMIT 1");

/// Stores what new records tell, and what had to wait; whether something has to wait still.
pub(super) fn store(session: &Session) -> Result<bool> {
    let from = progress::of(session, Purpose::Usage)?;
    let to = ring::settled();
    let deferred = || Ok(session.run(&DEFERRED, &[])?.first().is_some());
    if to <= from && !deferred()? {
        return Ok(false);
    }
    if !ring::may_have(Seen::Service, from) && !deferred()? {
        progress::advance(session, Purpose::Usage, to)?;
        return Ok(false);
    }
    // What is written follows from reads, which have their own records.
    let _recorded = changes::recorded_elsewhere();
    let told = session.run(&STORE, &[Param::Bigint(from), Param::Bigint(to.max(from))])?;
    if told.first().and_then(|row| row.bigint(0)).unwrap_or(0) > 0 {
        wake::at_commit();
    }
    if to > from {
        progress::advance(session, Purpose::Usage, to)?;
    }
    deferred()
}
