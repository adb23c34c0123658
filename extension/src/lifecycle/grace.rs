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
    // A month counts 30 days, as Postgres itself counts when it compares intervals.
    let days = i128::from(said.month) * 30 + i128::from(said.day);
    let microseconds = days * MICROSECONDS_A_DAY + i128::from(said.time);
    if microseconds < 0 {
        return Err(Error::bad_input("grace must not be negative"));
    }
    let longest = i64::from(gucs::LONGEST_SECONDS) * MICROSECONDS_A_SECOND;
    match i64::try_from(microseconds) {
        Ok(grace) if grace <= longest => Ok(grace),
        _ => Err(Error::bad_input("grace must be at most ten years")),
    }
}
