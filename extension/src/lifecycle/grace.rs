//! How long a superseded version stays readable.

use crate::error::{Error, Result};
use crate::gucs;
use pgrx::pg_sys;

const MICROSECONDS_A_DAY: i128 = 86_400_000_000;
const MICROSECONDS_A_SECOND: i64 = 1_000_000;

/// The grace of one rotation, in microseconds: what the rotation says, else the server's default.
/// Zero means that the old version dies at once.
pub(crate) fn of_rotation(said: Option<pg_sys::Interval>) -> Result<i64> {
    let Some(said) = said else {
        return i64::try_from(gucs::grace_period().as_micros())
            .map_err(|_| Error::internal("pg_secrets.grace_period"));
    };
    let grace = microseconds("grace", said)?;
    if grace < 0 {
        return Err(Error::bad_input("grace must not be negative"));
    }
    Ok(grace)
}

/// By how much a grace is to be extended, in microseconds.
pub(crate) fn of_extension(by: Option<pg_sys::Interval>) -> Result<i64> {
    let by = microseconds("by", by.ok_or_else(|| Error::null("by"))?)?;
    if by <= 0 {
        return Err(Error::bad_input("by must be more than nothing")
            .with_hint("control_plane.end_grace() ends a grace at once."));
    }
    Ok(by)
}

/// The longest grace, in microseconds.
pub(crate) const LONGEST: i64 = gucs::LONGEST_SECONDS as i64 * MICROSECONDS_A_SECOND;

/// An interval that is at most the longest grace.
fn microseconds(what: &str, said: pg_sys::Interval) -> Result<i64> {
    // A month counts 30 days, as Postgres itself counts when it compares intervals.
    let days = i128::from(said.month) * 30 + i128::from(said.day);
    let microseconds = days * MICROSECONDS_A_DAY + i128::from(said.time);
    match i64::try_from(microseconds) {
        Ok(microseconds) if microseconds <= LONGEST => Ok(microseconds),
        // What is below the smallest number is negative all the same.
        _ if microseconds < 0 => Ok(i64::MIN),
        _ => Err(Error::bad_input(format!(
            "{what} must be at most ten years"
        ))),
    }
}
