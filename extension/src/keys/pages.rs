//! Walking through a table of messages, a few at a time.

use crate::backend::session::Session;
use crate::error::Result;
use uuid::Uuid;

/// How many messages are in memory at once.
pub(super) const PAGE: i32 = 32;

/// Calls `step` with the last id of the page before, until it finds no further page. What is read in a
/// step is given back with it.
pub(super) fn walk(
    session: &Session,
    mut step: impl FnMut(&Session, Uuid) -> Result<Option<Uuid>>,
) -> Result<()> {
    let mut after = Uuid::nil();
    while let Some(last) = session.nested(|page| step(page, after))? {
        after = last;
    }
    Ok(())
}
