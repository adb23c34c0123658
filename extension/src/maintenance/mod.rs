//! What has to happen when its time has come: versions are warned of, held and destroyed, deleted secrets
//! purged, others rotated. Done by a worker, and by run_maintenance() on demand. Neither is what makes a version
//! unreadable: that is the clock (sql/20_types.sql).

mod due;
pub(crate) mod figures;
pub(crate) mod installation;
pub(crate) mod run;
mod sweep;
mod vacuum;
mod worker;

use crate::access::identity::Caller;
use crate::audit::changes::{self, Declaration};
use crate::audit::record::{self, Record};
use crate::backend::session::Session;
use crate::error::Result;

/// Who makes a change: a worker, or a caller of a function.
pub(crate) struct Actor<'c> {
    pub(crate) caller: &'c Caller,
    /// Whether the right to it is an administrator's.
    pub(crate) administrator: bool,
}

impl Actor<'_> {
    /// Declares the change that `record` tells of.
    pub(crate) fn declare(&self, record: Record) -> Declaration {
        changes::declare(self.caller, record.by_administrator(self.administrator))
    }

    /// Writes a record.
    pub(crate) fn write(&self, session: &Session, record: Record) -> Result<()> {
        record::write(
            session,
            self.caller,
            record.by_administrator(self.administrator),
        )
    }
}
