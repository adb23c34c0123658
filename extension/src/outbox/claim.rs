//! The relay's two calls: taking due deliveries, signed and ready to send, and telling how the try
//! ended. Leases and due times go by this server's clock alone.

use crate::access::identity::{Caller, RightsOf};
use crate::access::rights::Rights;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;
use crate::maintenance::installation;
use crate::{gucs, id};
use pg_secrets_openpgp::Place;
use std::time::Duration;
use uuid::Uuid;

/// The most deliveries that one claim takes.
const LARGEST_BATCH: i32 = 1000;

/// Seconds from 1970, from which the scheme's timestamps count, to 2000, from which Postgres does.
const UNIX_TO_2000_SECONDS: i64 = 946_684_800;

/// The longest lease, in microseconds: for as long nobody else delivers what a dead relay claimed.
const LONGEST_LEASE: i64 = 10 * 60 * 1_000_000;

/// The longest text that is kept of a try's error, in characters.
const LONGEST_ERROR: usize = 200;

/// A delivery is the relay's to handle: a trusted login's that acts for itself, or an
/// administrator's. A trusted login that has authenticated a subject, or has set another role as
/// PostgREST does, acts for somebody else, who must not take webhooks away.
fn require_relay(session: &Session, caller: &Caller) -> Result<()> {
    if caller.trusted && caller.rights_of == RightsOf::Nobody && caller.role.is_none() {
        return Ok(());
    }
    Rights::of_administrator(session, caller)?;
    Ok(())
}

static TAKE: Statement = Statement::new(
    c"WITH due AS MATERIALIZED (SELECT d.id FROM control_plane.deliveries AS d JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id WHERE d.status = 'pending' AND e.enabled AND d.next_attempt_at <= $2 AND (d.leased_until IS NULL OR d.leased_until <= $2) ORDER BY d.next_attempt_at LIMIT $1 FOR UPDATE OF d SKIP LOCKED) UPDATE control_plane.deliveries AS d SET attempts = d.attempts + 1, leased_until = $2 + $3 FROM due WHERE d.id = due.id RETURNING d.id, d.attempts",
);

static MESSAGE: Statement = Statement::new(
    c"SELECT e.id, e.secret_encrypted, e.key_fingerprint, o.id, o.body FROM control_plane.deliveries AS d JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id JOIN control_plane.outbox AS o ON o.id = d.event_id WHERE d.id = $1",
);

static CLAIMED: Statement = Statement::new(
    c"SELECT d.id, d.attempts, e.url, $2::text, $3::bigint, $4::text, o.body FROM control_plane.deliveries AS d JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id JOIN control_plane.outbox AS o ON o.id = d.event_id WHERE d.id = $1",
);

/// claim_deliveries: takes up to `batch` due deliveries for the length of `lease`.
pub(crate) fn claim_deliveries<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_relay(session, caller)?;
    let batch = arguments.integer(0).ok_or_else(|| Error::null("batch"))?;
    if !(1..=LARGEST_BATCH).contains(&batch) {
        return Err(Error::bad_input("batch must be 1 to 1000"));
    }
    let lease = arguments.interval(1).ok_or_else(|| Error::null("lease"))?;
    if lease.month != 0 || lease.day != 0 || !(1..=LONGEST_LEASE).contains(&lease.time) {
        return Err(Error::bad_input(
            "lease must be more than nothing and at most ten minutes",
        ));
    }
    // A copy has the original's deliveries, and must send nothing in its name. The relay is no place to say
    // so: the log does, and run_maintenance().
    if !gucs::workers() || !installation::is_own(session)? {
        return Ok(Answer::Many(Vec::new()));
    }
    keyring::require()?;
    let now = id::now();
    let seconds = UNIX_TO_2000_SECONDS + now.div_euclid(1_000_000);
    let taken = session.run(
        &TAKE,
        &[
            Param::Integer(Some(batch)),
            Param::Timestamp(Some(now)),
            Param::Interval(lease.time),
        ],
    )?;
    let mut claimed = Vec::new();
    for row in taken.iter() {
        let (Some(delivery), Some(attempt)) = (row.uuid(0), row.integer(1)) else {
            return Err(Error::internal("a claim without id"));
        };
        let params = [Param::Uuid(Some(delivery))];
        let Some(message) = session.run(&MESSAGE, &params)?.first() else {
            continue;
        };
        match sign(&message, seconds) {
            Ok((webhook_id, signature)) => {
                let params = [
                    Param::Uuid(Some(delivery)),
                    Param::Text(Some(&webhook_id)),
                    Param::Bigint(seconds),
                    Param::Text(Some(&signature)),
                ];
                if let Some(row) = session.run(&CLAIMED, &params)?.first() {
                    claimed.push(Composite { row, secret: None });
                }
            }
            // One endpoint whose key is missing must not keep the others from being told.
            Err(error) => {
                end_try(session, delivery, attempt, None, Some(&error.message))?;
            }
        }
    }
    Ok(Answer::Many(claimed))
}

/// The message's id and its signature for a try at `seconds`.
fn sign(message: &Row<'_>, seconds: i64) -> Result<(String, String)> {
    let missing = || Error::internal("a delivery without its event or endpoint");
    let endpoint = message.uuid(0).ok_or_else(missing)?;
    let sealed = message.bytes(1).ok_or_else(missing)?;
    let fingerprint = message.text(2).ok_or_else(missing)?;
    let event = message.uuid(3).ok_or_else(missing)?;
    let body = message.text(4).ok_or_else(missing)?;
    let secret = keyring::open(
        Place::endpoint(endpoint),
        &sealed,
        sealed.len(),
        &fingerprint,
    )?;
    let secret = std::str::from_utf8(&secret).map_err(|_| missing())?;
    let webhook_id = format!("evt_{}", event.simple());
    let signature = pg_secrets_signature::sign(secret, &webhook_id, seconds, body.as_bytes())
        .ok_or_else(|| Error::internal("a signing secret of another form"))?;
    Ok((webhook_id, signature))
}

/// finish_delivery: how the try of a claim ended. A status from 200 to 299 is a delivery; anything
/// else is tried again by pg_secrets.retry_schedule, until that ends. False if the claim is not the
/// last one any more.
pub(crate) fn finish_delivery<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_relay(session, caller)?;
    let delivery = arguments.required_uuid(0, "delivery_id")?;
    let attempt = arguments.integer(1).ok_or_else(|| Error::null("attempt"))?;
    let status = arguments.integer(2);
    let error: Option<String> = arguments.text(3)?.map(|text| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_ERROR)
            .collect()
    });
    let held = end_try(session, delivery, attempt, status, error.as_deref())?;
    Ok(Answer::Boolean(held))
}

static DELIVERED: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'delivered', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_status = $3, last_error = NULL WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending'",
);

static AGAIN: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET next_attempt_at = pg_catalog.clock_timestamp() + $5, leased_until = NULL, last_status = $3, last_error = $4 WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending'",
);

static FAILED: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'failed', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_status = $3, last_error = $4 WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending'",
);

fn end_try(
    session: &Session,
    delivery: Uuid,
    attempt: i32,
    status: Option<i32>,
    error: Option<&str>,
) -> Result<bool> {
    let id = Param::Uuid(Some(delivery));
    let fence = Param::Integer(Some(attempt));
    let last_status = Param::Integer(status);
    let last_error = Param::Text(error);
    let ended = if status.is_some_and(|status| (200..300).contains(&status)) {
        session.run(&DELIVERED, &[id, fence, last_status])?
    } else if let Some(wait) = wait_after(attempt)? {
        let wait = Param::Interval(wait);
        session.run(&AGAIN, &[id, fence, last_status, last_error, wait])?
    } else {
        session.run(&FAILED, &[id, fence, last_status, last_error])?
    };
    Ok(ended.affected() > 0)
}

/// How long to wait after the try with this number, in microseconds: the schedule's entry, up to a
/// tenth longer, so that what failed together does not come back together. `None`: no more tries.
fn wait_after(attempt: i32) -> Result<Option<i64>> {
    let schedule = gucs::retry_schedule();
    let position = usize::try_from(attempt - 1).unwrap_or(0);
    let Some(wait) = schedule.get(position).map(Duration::as_micros) else {
        return Ok(None);
    };
    let mut random = [0_u8; 2];
    id::randomness(&mut random)?;
    let jitter = wait * u128::from(u16::from_le_bytes(random)) / (10 * 65_536);
    i64::try_from(wait + jitter)
        .map(Some)
        .map_err(|_| Error::internal("pg_secrets.retry_schedule"))
}
