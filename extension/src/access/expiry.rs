//! When a grant or a token ends.

use crate::backend::arguments::Arguments;
use crate::error::{Error, Result};
use crate::id;

/// The last end there is: the beginning of the year 9999, in microseconds since 2000. What is later is
/// no date for many programs.
const LATEST: i64 = 252_424_080_000_000_000;

/// The argument `expires_at` at this position. NULL and infinity are no end.
pub(crate) fn read(arguments: &Arguments<'_>, position: usize) -> Result<Option<i64>> {
    match arguments.timestamp(position) {
        None | Some(i64::MAX) => Ok(None),
        Some(end) if end <= id::now() => Err(Error::bad_input("expires_at is over already")),
        Some(end) if end > LATEST => Err(Error::bad_input("expires_at is after the year 9998")
            .with_hint("Leave it out for what never ends.")),
        Some(end) => Ok(Some(end)),
    }
}
