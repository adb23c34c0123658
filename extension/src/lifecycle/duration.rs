//! How long something may last.

use crate::error::{Error, Result};
use crate::gucs;
use pgrx::pg_sys;

const MICROSECONDS_A_DAY: i128 = 86_400_000_000;

/// A second, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// The longest that anything may last, in microseconds.
pub(crate) const LONGEST: i64 = gucs::LONGEST_SECONDS as i64 * SECOND;

/// Seconds, with their fraction where there is one, of a duration in microseconds.
pub(crate) fn seconds(microseconds: i64) -> serde_json::Value {
    if microseconds % SECOND == 0 {
        return (microseconds / SECOND).into();
    }
    // Within ten years exact to the microsecond.
    (microseconds as f64 / SECOND as f64).into()
}

/// The least that something may last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Least {
    Nothing,
    Second,
    Minute,
}

/// The microseconds of an interval that must lie between `least` and ten years. `what` is the
/// argument's name.
pub(crate) fn microseconds(what: &str, said: pg_sys::Interval, least: Least) -> Result<i64> {
    // A month counts 30 days, as Postgres itself counts when it compares intervals.
    let days = i128::from(said.month) * 30 + i128::from(said.day);
    let microseconds = days * MICROSECONDS_A_DAY + i128::from(said.time);
    if microseconds < 0 {
        return Err(Error::bad_input(format!("{what} must not be negative")));
    }
    let (least, name) = match least {
        Least::Nothing => (0, "nothing"),
        Least::Second => (SECOND, "a second"),
        Least::Minute => (60 * SECOND, "a minute"),
    };
    match i64::try_from(microseconds) {
        Ok(length) if length < least => {
            Err(Error::bad_input(format!("{what} must be at least {name}")))
        }
        Ok(length) if length <= LONGEST => Ok(length),
        _ => Err(Error::bad_input(format!(
            "{what} must be at most ten years"
        ))),
    }
}
