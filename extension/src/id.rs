//! New identifiers and randomness, from the operating system: a state kept in the process would be
//! shared by all backends that are forked from it.

use crate::error::{Error, Result};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// A new uuid of version 7 (RFC 9562, section 5.7), with the fraction of the millisecond in the
/// twelve bits behind it (section 6.2, method 3): sorts by the time of its making to a quarter of a
/// microsecond, so that records of one transaction stand in their order.
pub(crate) fn new() -> Result<Uuid> {
    let mut random = [0_u8; 10];
    randomness(&mut random)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Error::internal("the clock is before 1970"))?;
    let milliseconds = u64::try_from(now.as_millis())
        .map_err(|_| Error::internal("the clock is beyond its end"))?;
    let fraction = u16::try_from(u64::from(now.subsec_nanos() % 1_000_000) * 4096 / 1_000_000)
        .map_err(|_| Error::internal("the clock has a fraction over one"))?;
    random[..2].copy_from_slice(&fraction.to_be_bytes());
    Ok(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
}

/// The least id that can be made at `at` (microseconds since 2000), or the nearest there is to it:
/// a bound for the ids of what happened then.
pub(crate) fn least_at(at: i64) -> Uuid {
    const MILLISECONDS_TO_2000: i64 = 946_684_800_000;
    let milliseconds = at.div_euclid(1000).saturating_add(MILLISECONDS_TO_2000);
    let milliseconds = milliseconds.clamp(0, (1 << 48) - 1).cast_unsigned();
    Uuid::from_u128(u128::from(milliseconds) << 80)
}

/// Fills `room` with randomness.
pub(crate) fn randomness(room: &mut [u8]) -> Result<()> {
    getrandom::fill(room)
        .map_err(|_| Error::unavailable("the operating system gives no randomness"))
}

/// The time, in microseconds since 2000, as Postgres counts.
#[allow(unsafe_code)]
pub(crate) fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pgrx::pg_sys::GetCurrentTimestamp() }
}
