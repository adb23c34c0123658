//! The time as programs outside read it.

use crate::backend::session::{Param, Session, Statement};
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

static OF: Statement = Statement::new(
    c"SELECT pg_catalog.to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
);

/// A time in microseconds since 2000, in the same form.
pub(crate) fn of(session: &Session, at: i64) -> Result<String> {
    let text = session.run(&OF, &[Param::Timestamp(Some(at))])?.first();
    text.and_then(|row| row.text(0))
        .ok_or_else(|| Error::internal("no time"))
}
