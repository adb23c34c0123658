//! The time as programs outside read it.

use crate::backend::session::{Session, Statement};
use crate::error::{Error, Result};

static NOW: Statement = Statement::new(
    c"SELECT pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
);

/// The server's time, in UTC to the microsecond (RFC 3339).
pub(crate) fn now(session: &Session) -> Result<String> {
    let now = session.run(&NOW, &[])?.first();
    now.and_then(|row| row.text(0))
        .ok_or_else(|| Error::internal("no time"))
}
